// vbon/core/device.hpp
//
// A device is a type. Parameters, activations and caches carry it as a template argument and a kernel
// takes its tag first, so that choosing a device is overload resolution and never a branch.
#pragma once
#include <concepts>

namespace vbon {
struct Cpu {};
struct Cuda {};

template <class D>
concept Device = std::same_as<D, Cpu> || std::same_as<D, Cuda>;
}  // namespace vbon

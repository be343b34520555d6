// vbon/core/config.hpp
//
// The one place that knows the library's version and the default of every build option. A build that
// links the matching CMake component defines the macro as 1; everything else reads it from here.
#pragma once

#define VBON_VERSION_MAJOR 0
#define VBON_VERSION_MINOR 1
#define VBON_VERSION_PATCH 0
#define VBON_VERSION "0.1.0"

#ifndef VBON_WITH_CUDA
#define VBON_WITH_CUDA 0
#endif

// vbon/decode/registry.hpp
//
// Every decoder by name. Adding one: its header, a test, an include and a line here. It says `ranks_only`: whether an
// increasing map of the rewards leaves its choice as it is, which the law tests hold it to.
#pragma once
#include <tuple>

#include "vbon/core/registry.hpp"
#include "vbon/decode/best_of_n.hpp"
#include "vbon/decode/controlled_decoding.hpp"
#include "vbon/decode/iad.hpp"
#include "vbon/decode/rejection.hpp"
#include "vbon/decode/smc.hpp"
#include "vbon/decode/speculative_rejection.hpp"
#include "vbon/decode/treebon.hpp"

namespace vbon::decode {
using Registry = std::tuple<BestOfN, SoftBestOfN, BestOfPoisson, Rejection, Pessimism, SpeculativeRejection, TreeBon<>, Smc,
                            ControlledDecoding<>, ControlledBlocks<>, Iad, MajorityVote>;
}  // namespace vbon::decode

// vbon/objective/registry.hpp
//
// Every objective by name. Adding one: its header, a test, an include and a line here; the law tests and
// the programs find it through this list.
#pragma once
#include <tuple>

#include "vbon/core/registry.hpp"
#include "vbon/objective/bon_sft.hpp"
#include "vbon/objective/bonbon.hpp"
#include "vbon/objective/bond.hpp"
#include "vbon/objective/grpo.hpp"
#include "vbon/objective/infalign.hpp"
#include "vbon/objective/jbond.hpp"
#include "vbon/objective/ksample.hpp"
#include "vbon/objective/pfppo.hpp"
#include "vbon/objective/pkpo.hpp"
#include "vbon/objective/ppo.hpp"
#include "vbon/objective/ppo_published.hpp"
#include "vbon/objective/preference.hpp"
#include "vbon/objective/quantile_regression.hpp"
#include "vbon/objective/reinforce.hpp"
#include "vbon/objective/vbon.hpp"
#include "vbon/objective/vbon_bound.hpp"
#include "vbon/objective/wind.hpp"

namespace vbon::objective {
using Registry = std::tuple<Vbon<>, VbonBound<>, VbonPpo, QuantileRegression, BonSft, Bond<>, Jbond<>, BonBon, Wind,
                            Reinforce<>, Rloo, Ppo, PublishedPpo, PfPpo, Grpo, DrGrpo, Dapo, Gspo, Pkpo, Ksample, InfAlign<>,
                            Preference<Dpo>, Preference<Cdpo>, Preference<RobustDpo>, Preference<Ipo>, Preference<Hinge>>;

/// What the registry demands of an entry: the laws it obeys and its options by name.
template <class O>
concept Registered = (Objective<O> || StreamsObjective<O>)&&requires(O& entry) {
  typename O::laws;
  entry.each_option([](std::string_view, auto&, std::string_view) {});
};
namespace detail {
template <class List>
inline constexpr bool all_registered = false;
template <class... Entry>
inline constexpr bool all_registered<std::tuple<Entry...>> = (Registered<Entry> && ...);
}  // namespace detail
static_assert(detail::all_registered<Registry>);
}  // namespace vbon::objective

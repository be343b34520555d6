// vbon/reward/label.hpp
//
// From the logits of a classifier to one reward: its one output as it stands, or the log-odds of one label,
// log p - log(1 - p). Where labels exclude each other p is their softmax (with two labels the difference of the logits);
// where each is a question of its own (problem_type multi_label_classification), p is a sigmoid and the log-odds are the
// logit.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/io/json.hpp"

namespace vbon::reward {
/// True where problem_type of a config says that each output stands for itself.
template <class = void>
bool outputs_stand_alone(const io::Json& config) {
  const io::Json* type = io::json_find(config, "problem_type");
  return type != nullptr && (io::json_is(*type, "multi_label_classification") || io::json_is(*type, "regression"));
}

inline double label_reward(View<const float> logit, Index label) {
  if (logit.cols() == 1) return static_cast<double>(logit[0]);
  double most = -INFINITY, rest = 0;
  for (Index k = 0; k < logit.cols(); ++k)
    if (k != label) most = std::max(most, static_cast<double>(logit[k]));
  for (Index k = 0; k < logit.cols(); ++k)
    if (k != label) rest += std::exp(static_cast<double>(logit[k]) - most);
  return static_cast<double>(logit[label]) - most - std::log(rest);
}
/// d loss / d logit from d loss / d reward: 1 for the label, minus their softmax for the others.
inline void label_reward_backward(View<const float> logit, Index label, double dreward, View<float> dlogit) {
  const double others = static_cast<double>(logit[label]) - label_reward(logit, label);  // log of the sum of their exp
  for (Index k = 0; k < logit.cols(); ++k)
    dlogit[k] = static_cast<float>(k == label ? dreward : -dreward * std::exp(static_cast<double>(logit[k]) - others));
}

/// The labels by number, as id2label of a config names them; LABEL_0, ... where it does not.
template <class = void>
std::vector<std::string> label_names(const io::Json& config, Index labels) {
  std::vector<std::string> names;
  for (Index k = 0; k < labels; ++k) names.push_back("LABEL_" + std::to_string(k));
  if (const io::Json* list = io::json_find(config, "id2label"); list != nullptr && list->is_object())
    for (Index k = 0; k < labels; ++k)
      if (const auto found = list->find(std::to_string(k)); found != list->end() && found->is_string())
        names[static_cast<std::size_t>(k)] = found->get<std::string>();
  return names;
}

/// The number of the label whose log-odds are the reward.
/// @param wanted  name or, where no label has that name, number; empty: the positive one of two (by its name, otherwise 1)
/// @param where   folder of the model, for messages
/// @throws ConfigError for an unknown label, or several labels and none chosen
template <class = void>
Index choose_label(const io::Json& config, Index labels, const std::string& wanted, const std::string& where) {
  const auto lower = [](std::string text) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  };
  const std::vector<std::string> names = label_names(config, labels);
  std::string known;
  if (!wanted.empty()) {
    for (Index k = 0; k < labels; ++k)
      if (lower(names[static_cast<std::size_t>(k)]) == lower(wanted)) return k;
    for (Index k = 0; k < labels; ++k)
      if (std::to_string(k) == wanted) return k;
  }
  for (Index k = 0; k < labels; ++k) {
    const std::string& label = names[static_cast<std::size_t>(k)];
    if (wanted.empty() && labels == 2 && lower(label).starts_with("pos")) return k;
    known += (k > 0 ? ", " : "") + std::to_string(k) + " (" + label + ')';
  }
  require<ConfigError>(wanted.empty(), where, ": unknown label '", wanted, "'; known: ", known);
  require<ConfigError>(labels <= 2, where, ": choose the label to reward, as classifier:", where, ",label=", labels - 1,
                       " (a number or a name); known: ", known);
  return labels - 1;
}
}  // namespace vbon::reward

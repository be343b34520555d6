// vbon/model/new_head.hpp
//
// A classification head for a checkpoint that has none: small normal weights and no bias, as transformers begins
// one, and the entries of config.json that make the checkpoint a ...ForSequenceClassification.
#pragma once
#include <string>
#include <string_view>

#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/model/config.hpp"

namespace vbon::model {
/// A head to begin with where the checkpoint has none.
struct NewHead {
  Index labels = 0;      // outputs of the new head; 0: none is made
  bool replace = false;  // also where the checkpoint has one
  RngKey key = {};       // of the draws

  bool wanted(Index labels_there) const { return labels > 0 && (replace || labels_there == 0); }
};

/// Fills a tensor of a new head: a weight with normal draws of the config's initializer_range, a bias with zeros.
template <class = void>
void initialize_head(const ConfigReader& config, std::string_view name, RngKey key, View<float> values) {
  const double scale = name.ends_with("bias") ? 0 : config.number_or({"initializer_range"}, 0.02);
  for (Index i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(scale * key.normal(static_cast<std::uint64_t>(i)));
}

/// Makes config.json that of a classifier with so many labels; their names stay where there are as many.
template <class = void>
void write_classifier(Json& config, const std::string& architecture, Index labels) {
  config["architectures"] = {architecture};
  config["num_labels"] = labels;
  if (const auto names = config.find("id2label");
      names != config.end() && names->is_object() && static_cast<Index>(names->size()) == labels)
    return;
  write_labels(config, labels);
}
}  // namespace vbon::model

// A tabular autoregressive law: one softmax over V tokens for every context of fewer than T tokens. Contexts
// are numbered by length, then lexicographically; a sequence is a base-V number, first token most significant.
#pragma once
#include <cmath>
#include <vector>

#include "vbon/bon/softmax_gradient.hpp"

namespace vbon::test {
class SoftmaxTree {
 public:
  SoftmaxTree(Index vocabulary, Index length, std::vector<std::vector<double>> logits) : vocabulary_(vocabulary), length_(length) {
    sequences_ = 1;
    for (Index t = 0; t < length; ++t) sequences_ *= vocabulary;
    for (const auto& row : logits) log_p_.push_back(bon::log_softmax(row));
  }
  Index vocabulary() const { return vocabulary_; }
  Index length() const { return length_; }
  Index sequences() const { return sequences_; }

  Index token(Index sequence, Index t) const { return sequence / block(t) % vocabulary_; }
  std::size_t context(Index sequence, Index t) const {
    const Index shorter = (sequences_ / block(t - 1) - 1) / (vocabulary_ - 1);  // contexts of fewer than t tokens
    return static_cast<std::size_t>(shorter + sequence / block(t - 1));
  }
  const std::vector<double>& log_p_row(Index sequence, Index t) const { return log_p_[context(sequence, t)]; }
  double token_log_prob(Index sequence, Index t) const {
    return log_p_row(sequence, t)[static_cast<std::size_t>(token(sequence, t))];
  }
  double log_prob(Index sequence) const {
    double sum = 0;
    for (Index t = 0; t < length_; ++t) sum += token_log_prob(sequence, t);
    return sum;
  }
  std::vector<double> log_probs() const {
    std::vector<double> all;
    for (Index y = 0; y < sequences_; ++y) all.push_back(log_prob(y));
    return all;
  }
  /// Adds weight * grad log p(token t of the sequence | its context).
  void add_token_gradient(Index sequence, Index t, double weight, std::vector<std::vector<double>>& gradient) const {
    const std::size_t c = context(sequence, t);
    for (std::size_t k = 0; k < log_p_[c].size(); ++k) gradient[c][k] -= weight * std::exp(log_p_[c][k]);
    gradient[c][static_cast<std::size_t>(token(sequence, t))] += weight;
  }
  std::vector<std::vector<double>> zero_gradient() const {
    return std::vector<std::vector<double>>(log_p_.size(), std::vector<double>(static_cast<std::size_t>(vocabulary_), 0.0));
  }
  /// Exact gradient of E_p[score] by the score function: in each context, reach(c) p_k (E[score | c, k] - E[score | c]).
  std::vector<std::vector<double>> score_gradient(const std::vector<double>& score) const {
    auto gradient = zero_gradient();
    for (std::size_t c = 0; c < log_p_.size(); ++c) {
      std::vector<double> mass(log_p_[c].size(), 0.0), mean(log_p_[c].size(), 0.0);
      double reach = 0;
      for (Index y = 0; y < sequences_; ++y)
        for (Index t = 0; t < length_; ++t)
          if (context(y, t) == c) {
            const double p = std::exp(log_prob(y));
            const std::size_t k = static_cast<std::size_t>(token(y, t));
            mass[k] += p, reach += p;
            mean[k] += p * score[static_cast<std::size_t>(y)];
          }
      for (std::size_t k = 0; k < mean.size(); ++k) mean[k] /= mass[k];
      gradient[c] = bon::score_gradient(log_p_[c], mean);
      for (double& g : gradient[c]) g *= reach;
    }
    return gradient;
  }

 private:
  /// How many sequences share their first t + 1 tokens.
  Index block(Index t) const {
    Index size = sequences_;
    for (Index i = 0; i <= t; ++i) size /= vocabulary_;
    return size;
  }
  Index vocabulary_, length_, sequences_ = 1;
  std::vector<std::vector<double>> log_p_;
};
}  // namespace vbon::test

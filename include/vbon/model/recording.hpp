// vbon/model/recording.hpp
//
// Activations of sampled rows, kept from sampling for the backward pass over the same tokens. A row has the same bits
// whether it is computed alone over cached keys and values or in a pass over whole sequences, so a policy that learns
// from what it has just drawn needs no second forward pass. Rows are recorded as they are drawn, in room for the longest
// responses; close() moves them together and says which tokens they belong to.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/model/activations.hpp"
#include "vbon/model/forest.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::model {
class Recording {
 public:
  /// Which numbers activations were made of, counts of the changes to the weights and to an adapter, and how many of them
  /// are kept (MemoryOptions::recompute).
  struct Version {
    std::uint64_t weights = 0, adapter = 0;
    bool recompute = false;
    bool operator==(const Version&) const = default;
  };

  /// Room for so many rows; what was recorded before is forgotten, its memory is used again.
  template <class = void>
  void open(Index layers, Index rows, Version version) {
    forget();
    if (version.recompute != version_.recompute) block_.clear();
    rows_ = rows;
    version_ = version;
    log_sum_exp_.assign(static_cast<std::size_t>(rows), std::numeric_limits<double>::quiet_NaN());
    block_.resize(static_cast<std::size_t>(layers));
  }
  void forget() { forest_ = {}; }
  /// @throws ShapeError unless there is a place for each of so many rows
  template <class = void>
  void check_places(std::span<const Index> row, Index rows) const {
    const auto outside = std::find_if(row.begin(), row.end(), [&](Index r) { return r < 0 || r >= rows_; });
    require<ShapeError>(static_cast<Index>(row.size()) == rows, "Recording: a place for each of ", rows,
                        " rows expected, got ", row.size());
    require<ShapeError>(outside == row.end(), "Recording: places in [0, ", rows_, ") expected, got ",
                        outside == row.end() ? 0 : *outside, "; open the recording with room for every row");
  }

  /// Keeps what a block made of some rows.
  /// @param made  with its input, and where nothing is computed again its middle if the blocks are sequential
  /// @param row   [T] place of each row
  template <class = void>
  void put(Index layer, BlockActivations<>& made, std::span<const Index> row) {
    const auto from = made.recorded(version_.recompute);
    const auto to = block_[static_cast<std::size_t>(layer)].recorded(version_.recompute);
    std::vector<std::pair<View<const float>, View<float>>> pair;
    for (std::size_t i = 0; i < from.size(); ++i)
      if (!from[i]->view().empty()) pair.push_back({rows_of(*from[i], row), room(*to[i], *from[i], row)});
    copy_rows(pair, row);
  }
  /// Keeps the stream after the last block.   x [T, C]
  template <class = void>
  void put_stream(View<const float> x, std::span<const Index> row) {
    copy_rows({{x, stream_.shaped(rows_, x.cols())}}, row);
  }

  /// Keeps the log-sum-exp of the scaled logits of a row; those at another scale are forgotten.
  /// @throws ShapeError for a place that there is no room for
  template <class = void>
  void put_log_sum_exp(Index row, double value, float scale) {
    check_places({&row, 1}, 1);
    if (scale != scale_) std::fill(log_sum_exp_.begin(), log_sum_exp_.end(), std::numeric_limits<double>::quiet_NaN());
    scale_ = scale;
    log_sum_exp_[static_cast<std::size_t>(row)] = value;
  }

  /// Moves the rows together.
  /// @param forest  the tokens that were drawn
  /// @param row     [rows of the forest] where each was put, ascending
  /// @throws ShapeError
  template <class = void>
  void close(Forest forest, std::span<const Index> row) {
    check_places(row, forest.rows());
    const auto back = std::adjacent_find(row.begin(), row.end(), std::greater_equal<>{});
    require<ShapeError>(back == row.end(), "Recording::close: ascending places expected, got ",
                        back == row.end() ? 0 : *back, " before ", back == row.end() ? 0 : *(back + 1));
    std::vector<Buffer<>*> buffers = {&stream_};
    for (BlockActivations<>& block : block_)
      for (Buffer<>* buffer : block.recorded(version_.recompute))
        if (!buffer->view().empty()) buffers.push_back(buffer);
    parallel_for(static_cast<Index>(buffers.size()), 1, [&](Index b, Index) {
      const View<float> all = buffers[static_cast<std::size_t>(b)]->view();
      for (std::size_t i = 0; i < row.size(); ++i)
        if (row[i] != static_cast<Index>(i))
          std::copy_n(all.row(row[i]).data(), all.cols(), all.row(static_cast<Index>(i)).data());
    });
    for (std::size_t i = 0; i < row.size(); ++i) log_sum_exp_[i] = log_sum_exp_[static_cast<std::size_t>(row[i])];
    forest_ = std::move(forest);
  }

  /// Makes `kept` and `stream` the activations of a pass, if all of its rows were recorded at this version and closed: they
  /// look at the rows where these lie together, and hold copies where a prompt stands beside other responses than it did.
  template <class = void>
  bool recall(const Forest& pass, Version version, std::vector<BlockActivations<>>& kept, Buffer<>& stream) {
    std::vector<Index>& row = recalled_;
    row.clear();
    if (!(version == version_) || forest_.segment.empty() || pass.rows() == 0 || !find(pass, row)) return false;
    bool together = true;
    for (std::size_t i = 0; i < row.size(); ++i) together = together && row[i] == row[0] + static_cast<Index>(i);
    const auto take = [&](Buffer<>& from, Buffer<>& to) {
      const View<float> all = from.view();
      if (all.empty()) return;
      if (together)
        to.look_at(all.middle_rows(row[0], pass.rows()));
      else
        take_rows(all, row, to.shaped(pass.rows(), all.cols()));
    };
    take(stream_, stream);
    for (std::size_t layer = 0; layer < block_.size(); ++layer) {
      const auto from = block_[layer].recorded(version_.recompute), to = kept[layer].recorded(version_.recompute);
      for (std::size_t i = 0; i < from.size(); ++i) take(*from[i], *to[i]);
    }
    return true;
  }

  /// The log-sum-exps at rows of the pass that was recalled last, or nothing where one of them was not put, or at another
  /// scale of the logits.
  template <class = void>
  std::vector<double> log_sum_exp(std::span<const Index> row, float scale) const {
    std::vector<double> out;
    for (const Index i : row) out.push_back(log_sum_exp_[static_cast<std::size_t>(recalled_[static_cast<std::size_t>(i)])]);
    const bool known = scale == scale_ && std::none_of(out.begin(), out.end(), [](double v) { return std::isnan(v); });
    return known ? out : std::vector<double>{};
  }

 private:
  /// Values as rows, whatever shape a norm gives its statistics.
  static View<const float> rows_of(const Buffer<>& made, std::span<const Index> row) {
    const auto rows = static_cast<Index>(row.size());
    return made.view().reshaped(rows, made.view().size() / rows);
  }
  template <class = void>
  View<float> room(Buffer<>& to, const Buffer<>& made, std::span<const Index> row) const {
    return to.shaped(rows_, rows_of(made, row).cols());
  }
  template <class = void>
  static void copy_rows(const std::vector<std::pair<View<const float>, View<float>>>& pair, std::span<const Index> row) {
    parallel_for(static_cast<Index>(row.size()), 4, [&](Index begin, Index end) {
      for (const auto& [from, to] : pair)
        for (Index i = begin; i < end; ++i)
          std::copy_n(from.row(i).data(), from.cols(), to.row(row[static_cast<std::size_t>(i)]).data());
    });
  }
  template <class = void>
  static void take_rows(View<const float> from, std::span<const Index> row, View<float> to) {
    parallel_for(to.rows(), 64, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i)
        std::copy_n(from.row(row[static_cast<std::size_t>(i)]).data(), from.cols(), to.row(i).data());
    });
  }

  /// Whether two segments are the same tokens after the same tokens: then their rows have the same bits.
  static bool same(const Forest& a, const kernel::Segment& x, const Forest& b, const kernel::Segment& y) {
    const auto at = [](const Forest& forest, const kernel::Segment& s) { return forest.token.begin() + s.begin; };
    if (x.length != y.length || x.position != y.position || (x.parent < 0) != (y.parent < 0)) return false;
    if (!std::equal(at(a, x), at(a, x) + x.length, at(b, y))) return false;
    return x.parent < 0 ||
           same(a, a.segment[static_cast<std::size_t>(x.parent)], b, b.segment[static_cast<std::size_t>(y.parent)]);
  }
  /// Where the rows of a pass were recorded, or false.
  template <class = void>
  bool find(const Forest& pass, std::vector<Index>& row) const {
    auto next = forest_.segment.begin();  // passes go through a batch in order: begin where the last one was found
    for (const kernel::Segment& wanted : pass.segment) {
      const auto is_wanted = [&](const kernel::Segment& s) { return same(forest_, s, pass, wanted); };
      auto found = std::find_if(next, forest_.segment.end(), is_wanted);
      if (found == forest_.segment.end()) found = std::find_if(forest_.segment.begin(), next, is_wanted);
      if (found == forest_.segment.end() || !is_wanted(*found)) return false;
      for (Index i = 0; i < wanted.length; ++i) row.push_back(found->begin + i);
      next = found + 1;
    }
    return true;
  }

  Index rows_ = 0;                       // there is room for
  std::vector<BlockActivations<>> block_;  // [L] of all rows
  Buffer<> stream_;                        // [rows, C] after the last block
  std::vector<double> log_sum_exp_;        // [rows] of the logits; NaN: not known
  float scale_ = 1;                        // of those logits
  std::vector<Index> recalled_;            // where the rows of the last pass are
  Forest forest_;                        // what the rows are; empty: nothing can be recalled
  Version version_;
};
}  // namespace vbon::model

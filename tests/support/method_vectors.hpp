// Vectors of the methods: a file names, for each case, a kind, parameters, inputs and every output. A
// handler computes the outputs of one case; this compares them key by key, and demands that each listed
// error is thrown.
#pragma once
#include <functional>

#include "support/conformance.hpp"
#include "vbon/data/rollout_batch.hpp"

namespace vbon::test {
/// Outputs of one case by name; at least those the file expects.
using Compute = std::function<Json(const std::string& kind, const Json& params, const Json& input)>;

struct Tolerance {
  double absolute = 0, relative = 0;
};

inline void compare(const Json& got, const Json& want, Tolerance tolerance, const std::string& what, Report& report) {
  if (want.is_object()) {
    for (const auto& [key, value] : want.items()) {
      const bool known = report.check(got.is_object() && got.contains(key), what, key, ": not computed");
      if (known) compare(got[key], value, tolerance, what.empty() ? key : what + "." + key, report);
    }
  } else if (want.is_array()) {
    if (!report.check(got.is_array() && got.size() == want.size(), what, ": ", want.size(), " values expected, got ",
                      got.dump()))
      return;
    for (std::size_t i = 0; i < want.size(); ++i)
      compare(got[i], want[i], tolerance, what + "[" + std::to_string(i) + "]", report);
  } else if (want.is_number_float() || want.is_string()) {
    report.near(got.is_null() ? NAN : number(got), number(want), tolerance.absolute, tolerance.relative, what);
  } else if (want.is_number()) {
    report.check(got.is_number() && got.get<double>() == want.get<double>(), what, ": got ", got.dump(), ", expected ",
                 want.dump());
  } else {
    report.check(got == want, what, ": got ", got.dump(), ", expected ", want.dump());
  }
}

struct MethodVectors : Register {
  MethodVectors(const std::string& name, const Compute& compute)
      : Register("methods/" + name + ".json", [compute](const std::filesystem::path& path, Report& report) {
          const Json data = read_json(path);
          const Tolerance tolerance{data["tolerance"]["abs"], data["tolerance"]["rel"]};
          for (const auto& entry : data["cases"]) {
            const auto kind = entry["kind"].get<std::string>();
            report.begin_case(kind + " " + entry["id"].dump());
            compare(compute(kind, entry["params"], entry["input"]), entry["output"], tolerance, "", report);
          }
          for (const auto& entry : data["errors"]) {
            const auto name_of_error = entry["name"].get<std::string>();
            report.begin_case("error " + name_of_error);
            const auto run = [&] { compute(entry["kind"], entry["params"], entry["input"]); };
            // Weights that are all zero are a failure of the run; everything else is a wrong argument.
            if (name_of_error == "all_zero_weights")
              report.throws<std::runtime_error>(run, name_of_error);
            else
              report.throws<std::invalid_argument>(run, name_of_error);
          }
        }) {}
};

inline Array to_array(const Json& values) {
  const auto list = numbers(values);
  return Eigen::Map<const Array>(list.data(), static_cast<Index>(list.size()));
}
inline Json number_json(double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}
template <class Values>
Json to_json(const Values& values) {
  Json out = Json::array();
  for (Index i = 0; i < static_cast<Index>(values.size()); ++i)
    out.push_back(number_json(static_cast<double>(values[static_cast<decltype(values.size())>(i)])));
  return out;
}

/// One token per response, groups as the rows of `rows` [P][n] say.
inline RolloutBatch one_token_batch(const Json& rows) {
  RolloutBatch batch;
  const std::vector<TokenId> token = {0};
  for (const auto& row : rows) {
    batch.add_prompt({});
    for (std::size_t i = 0; i < row.size(); ++i) batch.add_response(token, true);
  }
  batch.weight = uniform_weight(batch);
  return batch;
}
/// One prompt of `responses` one-token responses.
inline RolloutBatch one_group(std::size_t responses) {
  return one_token_batch(Json::array({Json(std::vector<int>(responses, 0))}));
}

/// [B][T] rows with a mask, right-padded: one prompt of B responses, their valid tokens end to end.
inline RolloutBatch masked_batch(const Json& mask) {
  RolloutBatch batch;
  batch.add_prompt({});
  for (const auto& row : mask) {
    std::size_t length = 0;
    for (const auto& valid : row) length += valid.get<double>() != 0 ? 1U : 0U;
    batch.add_response(std::vector<TokenId>(length, 0), true);
  }
  batch.weight = uniform_weight(batch);
  return batch;
}

/// All values of nested rows, one after another.
inline Array flattened(const Json& rows) {
  Json all = Json::array();
  for (const auto& row : rows)
    for (const auto& value : row) all.push_back(value);
  return to_array(all);
}
/// The values at valid places [T]. Rows must have the shape of the mask.
inline Array valid_values(const Json& rows, const Json& mask) {
  Json all = Json::array();
  require<ShapeError>(rows.size() == mask.size(), "rows of values: ", mask.size(), " expected, got ", rows.size());
  for (std::size_t b = 0; b < mask.size(); ++b) {
    require<ShapeError>(rows[b].size() == mask[b].size(), "values of a row: ", mask[b].size(), " expected, got ",
                        rows[b].size());
    for (std::size_t t = 0; t < mask[b].size(); ++t)
      if (mask[b][t].get<double>() != 0) all.push_back(rows[b][t]);
  }
  return to_array(all);
}
/// [T] back to rows [B][T]; 0 at masked places.
inline Json padded_json(const Array& values, const Json& mask) {
  Json out = Json::array();
  Index next = 0;
  for (const auto& row : mask) {
    Json line = Json::array();
    for (const auto& valid : row) line.push_back(valid.get<double>() != 0 ? number_json(values[next++]) : Json(0.0));
    out.push_back(line);
  }
  return out;
}
/// [R] as groups [P][n].
inline Json grouped_json(const RolloutBatch& batch, const Array& values) {
  Json out = Json::array();
  for (Index p = 0; p < batch.prompts(); ++p)
    out.push_back(to_json(Array(values.segment(batch.group_offset[static_cast<std::size_t>(p)], batch.samples(p)))));
  return out;
}
/// The option whose name is `name`, by the list of names its type declares.
template <class E>
E option(const std::string& name) {
  const auto names = option_names(E{});
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<E>(i);
  throw ConfigError("unknown option " + name);
}
inline double metric(const auto& result, std::string_view name) {
  for (const auto& entry : result.metrics)
    if (entry.name == name) return entry.value;
  throw ConfigError("no metric " + std::string(name));
}
}  // namespace vbon::test

// vbon/io/json.hpp
//
// JSON from untrusted files: strict UTF-8, numbers within range, bounded depth, no key twice, and errors
// that name the file, the byte and the key. Values are nlohmann::json.
#pragma once
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/mapped_file.hpp"
#include "vbon/io/utf8.hpp"

namespace vbon::io {
using Json = nlohmann::json;

struct JsonLimits {
  int depth = 128;  // nested arrays and objects
};

namespace detail {
/// Walks over bytes and remembers in `*reached` how far the parser is, which its events do not tell.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  CountingIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

/// Builds a value from the parser's events.
template <class Value>
class JsonBuilder {
 public:
  using number_integer_t = typename Value::number_integer_t;
  using number_unsigned_t = typename Value::number_unsigned_t;
  using number_float_t = typename Value::number_float_t;
  using string_t = typename Value::string_t;
  using binary_t = typename Value::binary_t;

  JsonBuilder(Value& root, JsonLimits limits, std::string_view name, const char* begin, const char* const* reached)
      : root_(root), limits_(limits), name_(name), begin_(begin), reached_(reached) {}

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(number_integer_t value) { return put(value); }
  bool number_unsigned(number_unsigned_t value) { return put(value); }
  bool number_float(number_float_t value, const string_t&) { return put(value); }
  bool string(string_t& value) { return put(std::move(value)); }
  bool binary(binary_t&) { return fail("binary values are no JSON"); }
  bool start_object(std::size_t) { return open(Value::value_t::object); }
  bool start_array(std::size_t) { return open(Value::value_t::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(string_t& name) {
    auto& object = *open_.back();
    if (object.contains(name)) fail("the key \"", name, "\" stands twice in one object");
    slot_ = &object[std::move(name)];
    return true;
  }
  template <class Exception>
  bool parse_error(std::size_t, const std::string&, const Exception& error) {
    std::string_view text = error.what();
    if (const auto end_of_code = text.find("] "); end_of_code != text.npos) text.remove_prefix(end_of_code + 2);
    return fail("not JSON: ", replace_invalid_utf8(text));
  }

 private:
  template <class... Parts>
  bool fail(const Parts&... parts) const {
    throw FormatError(message(name_, ": byte ", *reached_ - begin_, ": ", parts...));
  }
  template <class T>
  bool put(T&& value) {
    place(std::forward<T>(value));
    return true;
  }
  template <class T>
  Value& place(T&& value) {
    if (open_.empty()) return root_ = std::forward<T>(value);
    if (open_.back()->is_array()) return open_.back()->emplace_back(std::forward<T>(value));
    return *slot_ = std::forward<T>(value);
  }
  bool open(typename Value::value_t type) {
    if (static_cast<int>(open_.size()) >= limits_.depth) fail("nested deeper than ", limits_.depth, " levels");
    open_.push_back(&place(Value(type)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  Value& root_;
  JsonLimits limits_;
  std::string_view name_;
  const char* begin_;
  const char* const* reached_;
  std::vector<Value*> open_;  // a parent never grows while its child is open, so the pointers stay good
  Value* slot_ = nullptr;
};
}  // namespace detail

/// Parses one JSON value that fills the whole text (white space aside).
///
/// @param name   the file (and line), for messages
/// @tparam Value  Json, or nlohmann::ordered_json where the order of keys matters
/// @throws FormatError that names the byte: no JSON, ill-formed UTF-8, a number beyond double, too deep, a key twice
template <class Value = Json>
Value parse_json(std::string_view text, std::string_view name, JsonLimits limits = {}) {
  const char* reached = text.data();
  Value root;
  detail::JsonBuilder<Value> builder(root, limits, name, text.data(), &reached);
  require<FormatError>(!text.empty(), name, ": byte 0: empty, JSON was expected");
  Value::sax_parse(detail::CountingIterator(text.data(), &reached),
                   detail::CountingIterator(text.data() + text.size(), &reached), &builder);
  return root;
}

/// Reads a JSON file.
/// @throws RunError when it cannot be read, FormatError as parse_json
template <class Value = Json>
Value read_json(const std::filesystem::path& path, JsonLimits limits = {}) {
  const MappedFile file(path);
  return parse_json<Value>(file.text(), path.string(), limits);
}

/// A value as T, without the conversions that hide mistakes: an integer has no fraction and fits, a number
/// is no string, a flag is true or false.
/// @throws FormatError that names `where`
template <class T, class Value>
T json_as(const Value& value, std::string_view where) {
  const auto fail = [&](std::string_view expected) {
    throw FormatError(message(where, ": ", expected, " expected, got ",
                              value.is_primitive() ? value.dump(-1, ' ', true) : value.type_name()));
  };
  if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) fail("true or false");
    return value.template get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    if (value.is_number_unsigned()) {
      if (const auto number = value.template get<std::uint64_t>(); std::in_range<T>(number)) return static_cast<T>(number);
    } else if (value.is_number_integer()) {
      if (const auto number = value.template get<std::int64_t>(); std::in_range<T>(number)) return static_cast<T>(number);
    }
    fail(message("an integer in [", std::numeric_limits<T>::min(), ", ", std::numeric_limits<T>::max(), "]"));
    return {};
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) fail("a number");
    return value.template get<T>();
  } else {
    static_assert(std::is_same_v<T, std::string>, "json_as gives bool, numbers and strings");
    if (!value.is_string()) fail("a string");
    return value.template get<std::string>();
  }
}

/// Whether it is this text. For json == "text" a compiler tries all types to which JSON converts, a tenth of a second.
template <class Value>
bool json_is(const Value& value, std::string_view text) {
  return value.is_string() && value.template get_ref<const std::string&>() == text;
}

/// JSON has no infinity: the texts "inf" and "-inf" stand for it, and null for NaN.
inline Json json_of(double number) { return std::isinf(number) ? Json(number > 0 ? "inf" : "-inf") : Json(number); }
/// A number, or what json_of() writes for one that JSON does not have; nothing for any other value.
template <class Value>
std::optional<double> number_of(const Value& value) {
  if (value.is_number()) return value.template get<double>();
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (json_is(value, "inf")) return std::numeric_limits<double>::infinity();
  if (json_is(value, "-inf")) return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

/// The member `key` of an object, or nullptr where it is absent or null.
template <class Value>
const Value* json_find(const Value& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}
/// The member `key` as T. `where` names the object in messages.
/// @throws FormatError when it is absent, null, or of another type
template <class T, class Value>
T json_get(const Value& object, std::string_view key, std::string_view where) {
  const Value* value = json_find(object, key);
  require<FormatError>(value != nullptr, where, ": the field \"", key, "\" is missing");
  return json_as<T>(*value, message(where, ": field \"", key, "\""));
}
/// The member `key` as T, or `otherwise` where it is absent or null.
template <class T, class Value>
T json_get_or(const Value& object, std::string_view key, T otherwise, std::string_view where) {
  const Value* value = json_find(object, key);
  return value == nullptr ? std::move(otherwise) : json_as<T>(*value, message(where, ": field \"", key, "\""));
}
}  // namespace vbon::io

// vbon/core/error.hpp
//
// Five kinds of failure, each caught as vbon::Error or as the standard exception it also is. A message
// names the function, what was expected and what came; code() is a stable word for programs.
#pragma once
#include <initializer_list>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace vbon {
/// What every failure of this library is. A mixin: it does not derive from std::exception, because a
/// second std::exception base would make `catch (const std::exception&)` ambiguous and so miss it.
class Error {
 public:
  virtual ~Error() = default;
  virtual const char* what() const noexcept = 0;
  virtual std::string_view code() const noexcept = 0;
};

/// A stable name for one kind of mistake, as listed in the specification ("invalid_n", "empty_cache").
struct ErrorCode {
  std::string_view name;
};

namespace detail {
template <class Kind, class Standard>
class ErrorOf : public Standard, public Error {
 public:
  explicit ErrorOf(const std::string& message, ErrorCode code = {Kind::default_code})
      : Standard(message), code_(code.name) {}
  const char* what() const noexcept override { return Standard::what(); }
  std::string_view code() const noexcept override { return code_; }

 private:
  std::string code_;
};
}  // namespace detail

/// Sizes that must agree do not.
struct ShapeError : detail::ErrorOf<ShapeError, std::invalid_argument> {
  static constexpr std::string_view default_code = "shape";
  using ErrorOf::ErrorOf;
};
/// A value outside its mathematical domain.
struct DomainError : detail::ErrorOf<DomainError, std::invalid_argument> {
  static constexpr std::string_view default_code = "domain";
  using ErrorOf::ErrorOf;
};
/// An unknown name or an impossible setting; the message lists what is known.
struct ConfigError : detail::ErrorOf<ConfigError, std::invalid_argument> {
  static constexpr std::string_view default_code = "config";
  using ErrorOf::ErrorOf;
};
/// A file is not what it claims to be; the message says where.
struct FormatError : detail::ErrorOf<FormatError, std::runtime_error> {
  static constexpr std::string_view default_code = "format";
  using ErrorOf::ErrorOf;
};
/// The world failed: I/O, a dead process, a non-finite loss.
struct RunError : detail::ErrorOf<RunError, std::runtime_error> {
  static constexpr std::string_view default_code = "run";
  using ErrorOf::ErrorOf;
};

namespace detail {
/// A printable value that is looked at, of any type: what joins several is compiled once, not once for every list of types.
class Part {
 public:
  Part(const char* text)
      : value_(text), print_([](std::ostream& out, const void* value) { out << static_cast<const char*>(value); }) {}
  template <class T>
  Part(const T& value)
      : value_(&value), print_([](std::ostream& out, const void* at) { out << *static_cast<const T*>(at); }) {}
  friend std::ostream& operator<<(std::ostream& out, const Part& part) { return part.print_(out, part.value_), out; }

 private:
  const void* value_;
  void (*print_)(std::ostream&, const void*);
};
inline std::string joined(std::initializer_list<Part> parts) {
  std::ostringstream out;
  out.precision(17);
  for (const Part& part : parts) out << part;
  return std::move(out).str();
}
}  // namespace detail

/// Joins printable parts into one string: message("got ", 3, " of ", n).
template <class... Parts>
std::string message(const Parts&... parts) {
  return detail::joined({parts...});
}

/// Throws Kind unless the condition holds. The message is built only on failure.
template <class Kind, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    throw Kind(message(parts...));
}
template <class Kind, class... Parts>
void require(bool condition, ErrorCode code, const Parts&... parts) {
  if (!condition) [[unlikely]]
    throw Kind(message(parts...), code);
}
}  // namespace vbon

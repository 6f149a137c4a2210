// What did the command line ask for? `--name value` and `--name=value`; anything else is refused.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace konduktor {

// What is wrong, with the offending value; and what would be right.
struct UsageError : std::runtime_error {
  UsageError(const std::string& message, std::string what_helps)
      : std::runtime_error(message), hint(std::move(what_helps)) {}
  std::string hint;
};

struct Option {
  std::string name;      // with its dashes
  std::string standard;  // value when it is not given
  std::string help;      // one line
  bool takes_value = true;
};

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1)
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

// A number without a sign, decimal or (0x) hexadecimal, low to high.
inline std::uint64_t whole_number(const std::string& text, const std::string& what,
                                  std::uint64_t low, std::uint64_t high) {
  const bool hex = text.rfind("0x", 0) == 0;
  const std::string digits = hex ? text.substr(2) : text;
  const std::string allowed = hex ? "0123456789abcdefABCDEF" : "0123456789";
  errno = 0;
  const std::uint64_t value = std::strtoull(digits.c_str(), nullptr, hex ? 16 : 10);
  if (digits.empty() || digits.find_first_not_of(allowed) != std::string::npos || errno ||
      value < low || value > high)
    throw UsageError(what + ": " + text + " is not a whole number from " + std::to_string(low) +
                         " to " + std::to_string(high),
                     "");
  return value;
}

class Arguments {
 public:
  // Throws UsageError.
  Arguments(const std::vector<Option>& options, int argc, const char* const* argv)
      : options_(options) {
    for (const Option& option : options_) values_[option.name] = option.standard;
    for (int i = 1; i < argc; ++i) {
      const std::string given = argv[i];
      const std::size_t equals = given.find('=');
      const Option& option = find(given.substr(0, equals));
      if (!option.takes_value) {
        if (equals != std::string::npos)
          throw UsageError(option.name + " takes no value: " + given, "");
        values_[option.name] = "yes";
      } else if (equals != std::string::npos) {
        values_[option.name] = given.substr(equals + 1);
      } else if (i + 1 < argc) {
        values_[option.name] = argv[++i];
      } else {
        throw UsageError(option.name + " needs a value", "");
      }
    }
  }

  const std::string& text(const std::string& name) const { return values_.at(name); }

  bool yes(const std::string& name) const {
    const std::string& value = text(name);
    if (value != "yes" && value != "no" && !value.empty())
      throw UsageError(name + ": " + value + " is neither yes nor no", "");
    return value == "yes";
  }

  std::uint64_t whole(const std::string& name, std::uint64_t low, std::uint64_t high) const {
    return whole_number(text(name), name, low, high);
  }

  // Those of `known` that a list names, in the order of `known`; "all" names each.
  std::vector<std::string> chosen(const std::string& name,
                                  const std::vector<std::string>& known) const {
    if (text(name) == "all") return known;
    std::string all;
    for (const std::string& each : known) all += (all.empty() ? "" : ", ") + each;
    std::map<std::string, bool> asked;
    for (const std::string& each : known) asked[each] = false;
    for (const std::string& each : split(text(name), ',')) {
      if (!asked.count(each))
        throw UsageError(name + ": there is no " + (each.empty() ? "empty name" : each),
                         "all, or of: " + all);
      asked[each] = true;
    }
    std::vector<std::string> found;
    for (const std::string& each : known)
      if (asked[each]) found.push_back(each);
    return found;
  }

 private:
  const Option& find(const std::string& name) const {
    for (const Option& option : options_)
      if (option.name == name) return option;
    throw UsageError("there is no option " + name, "--help lists the options");
  }

  std::vector<Option> options_;
  std::map<std::string, std::string> values_;
};

// Where to make a wrong bit on purpose: "NAME:PLACE:BIT", or "PLACE:BIT" when `named` is false.
struct Injection {
  bool asked = false;
  std::string name = {};
  std::uint64_t place = 0;
  int bit = 0;
};

inline Injection injection(const std::string& text, bool named,
                           const std::vector<std::string>& names) {
  if (text.empty()) return {};
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() != (named ? 3u : 2u))
    throw UsageError("--inject: " + text + " is not " + (named ? "NAME:PLACE:BIT" : "ADDRESS:BIT"),
                     "");
  Injection asked;
  asked.asked = true;
  if (named) {
    asked.name = parts[0];
    bool known = false;
    for (const std::string& name : names) known = known || name == asked.name;
    if (!known) throw UsageError("--inject: there is no " + asked.name, "");
  }
  asked.place = whole_number(parts[parts.size() - 2], "--inject", 0, UINT64_MAX / 2);
  asked.bit = static_cast<int>(whole_number(parts.back(), "--inject", 0, 63));
  return asked;
}

}  // namespace konduktor

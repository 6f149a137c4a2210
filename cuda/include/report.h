// How is what was found written as JSON? The format: docs/reference/cuda-programs.md.
//
// Invariants: what is written is valid JSON in ASCII whatever the driver says; a number that is not
// finite is null, which no reader takes for a measurement.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "statistics.h"

namespace konduktor {

constexpr int kFormatVersion = 1;
constexpr std::size_t kMostErrors = 16;  // that a GPU's report lists

// Why something could not be measured. Codes are in the reference.
struct Failure {
  std::string code, message, hint;
};

// A GPU as CUDA knows it.
struct Gpu {
  int index = 0;  // in PCI order, as NVML counts
  std::string uuid, device, name, compute;
};

struct Result {
  std::string name;
  std::vector<double> samples;
  std::string unit;
  std::string kernel = {};     // "ce", "sm", "own", "cublas"; "" is left out
  std::string peer = {};       // device of the other GPU; "" is left out
  std::uint64_t count = 0;     // iterations or rounds; 0 is left out
};

struct Skip {
  std::string name, peer, reason;
};

// A word that is not what it has to be, or (kind "device") an error that the driver attributes to
// the hardware.
struct WrongWord {
  std::string kind, test;
  std::uint64_t address = 0, expected = 0, actual = 0;
  int bits = 64;  // of the word
  std::vector<std::pair<std::string, std::int64_t>> where = {};  // step, iteration, row, column
  std::string message = {};                                      // of kind "device"
};

inline std::string quoted(const std::string& text, std::size_t most = 500) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size() && i < most; ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else {
      out += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '?';
    }
  }
  return out + '"';
}

inline std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[40];
  std::snprintf(text, sizeof text, "%.12g", value);
  return text;
}

inline std::string hexadecimal(std::uint64_t value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "\"0x%0*llx\"", digits, static_cast<unsigned long long>(value));
  return text;
}

// The lowest bit that differs. -1: none does.
inline int first_bit(std::uint64_t expected, std::uint64_t actual) {
  const std::uint64_t differing = expected ^ actual;
  for (int bit = 0; bit < 64; ++bit)
    if ((differing >> bit) & 1) return bit;
  return -1;
}

inline std::string json(const Failure& failure) {
  return "{\"code\": " + quoted(failure.code) + ", \"message\": " + quoted(failure.message) +
         ", \"hint\": " + quoted(failure.hint) + "}";
}

inline std::string json(const Result& result) {
  std::string out = "{\"name\": " + quoted(result.name) +
                    ", \"value\": " +
                    number(result.samples.empty() ? NAN : median(result.samples)) +
                    ", \"unit\": " + quoted(result.unit) + ", \"samples\": [";
  bool first = true;
  for (const double sample : thinned(result.samples)) {
    if (!first) out += ", ";
    first = false;
    out += number(sample);
  }
  out += "]";
  if (!result.kernel.empty()) out += ", \"kernel\": " + quoted(result.kernel);
  if (!result.peer.empty()) out += ", \"peer\": " + quoted(result.peer);
  if (result.count) out += ", \"count\": " + std::to_string(result.count);
  return out + "}";
}

inline std::string json(const Skip& skip) {
  std::string out = "{\"name\": " + quoted(skip.name);
  if (!skip.peer.empty()) out += ", \"peer\": " + quoted(skip.peer);
  return out + ", \"reason\": " + quoted(skip.reason) + "}";
}

inline std::string json(const WrongWord& wrong) {
  std::string out = "{\"kind\": " + quoted(wrong.kind) + ", \"test\": " + quoted(wrong.test);
  if (wrong.kind == "device") return out + ", \"message\": " + quoted(wrong.message) + "}";
  out += ", \"address\": " + hexadecimal(wrong.address, 1) +
         ", \"expected\": " + hexadecimal(wrong.expected, wrong.bits / 4) +
         ", \"actual\": " + hexadecimal(wrong.actual, wrong.bits / 4) +
         ", \"bit\": " + std::to_string(first_bit(wrong.expected, wrong.actual));
  for (const auto& [name, value] : wrong.where)
    out += ", " + quoted(name) + ": " + std::to_string(value);
  return out + "}";
}

}  // namespace konduktor

// Which word belongs at which place of a memory test? Pure arithmetic, the same on GPU and CPU.
//
// Invariants:
// - For each pattern and each bit of each word there is a step that writes 0 and one that writes 1
//   there: no stuck bit escapes.
// - `address` and `random` give different words to different places, so that two addresses that
//   share a cell are found. `walking` repeats every 64 words: it does not claim that.
#pragma once

#include <cstdint>

#include "portable.h"

namespace konduktor {

enum class Pattern : int { address, walking, inversions, random };

constexpr Pattern kPatterns[] = {Pattern::address, Pattern::walking, Pattern::inversions,
                                 Pattern::random};

inline const char* name_of(Pattern pattern) {
  switch (pattern) {
    case Pattern::address:
      return "address";
    case Pattern::walking:
      return "walking";
    case Pattern::inversions:
      return "inversions";
    case Pattern::random:
      return "random";
  }
  return "unknown";
}

// How many steps one round of a pattern has.
KONDUKTOR_BOTH constexpr int steps_of(Pattern pattern) {
  return pattern == Pattern::address ? 2 : pattern == Pattern::walking ? 128
         : pattern == Pattern::inversions ? 7
                                          : 4;
}

// 64 well mixed bits of an index: the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", 2014).
KONDUKTOR_BOTH constexpr std::uint64_t mixed(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed * 0xd1342543de82ef95u + index * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Backgrounds of moving inversions: solid, then halves of the word that alternate ever faster.
KONDUKTOR_BOTH constexpr std::uint64_t background(int step) {
  switch (step) {
    case 0:
      return 0;
    case 1:
      return 0x00000000ffffffffu;
    case 2:
      return 0x0000ffff0000ffffu;
    case 3:
      return 0x00ff00ff00ff00ffu;
    case 4:
      return 0x0f0f0f0f0f0f0f0fu;
    case 5:
      return 0x3333333333333333u;
    default:
      return 0x5555555555555555u;
  }
}

// The word at `index` (in words of 8 bytes) in `step` of a pattern.
KONDUKTOR_BOTH constexpr std::uint64_t word(Pattern pattern, int step, std::uint64_t seed,
                                            std::uint64_t index) {
  switch (pattern) {
    case Pattern::address: {
      const std::uint64_t address = index * 8;
      return step % 2 == 0 ? address : ~address;
    }
    case Pattern::walking: {
      const std::uint64_t one = std::uint64_t{1} << ((index + static_cast<unsigned>(step)) % 64);
      return step < 64 ? one : ~one;
    }
    case Pattern::inversions:
      return background(step);
    default: {
      const std::uint64_t noise = mixed(seed + static_cast<unsigned>(step / 2), index);
      return step % 2 == 0 ? noise : ~noise;
    }
  }
}

}  // namespace konduktor

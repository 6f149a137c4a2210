// In which order is memory written and checked? The same walk for the GPU's memory and for the
// simulated one of the tests.
//
// Memory is a class with
//   bool write(Pattern, int step)                       writes the words of that step everywhere
//   bool check(Pattern, int step)                       compares
//   bool check_and_invert(Pattern, int step, bool from_inverse)
//       from_inverse false: upwards, expects the word and writes its inverse;
//       true: downwards, expects the inverse and writes the word
// each of which returns false when the walk has to end (time is over).
#pragma once

#include "pattern.h"

namespace konduktor {

// How often one round of a pattern goes over the memory, reading and writing counted apart.
constexpr int passes_of(Pattern pattern) {
  return pattern == Pattern::inversions ? 6 * steps_of(pattern) : 2 * steps_of(pattern);
}

// One round. False: it was ended before it was done.
template <class Memory>
bool march(Memory& memory, Pattern pattern) {
  for (int step = 0; step < steps_of(pattern); ++step) {
    if (!memory.write(pattern, step)) return false;
    if (pattern == Pattern::inversions) {
      if (!memory.check_and_invert(pattern, step, false)) return false;
      if (!memory.check_and_invert(pattern, step, true)) return false;
    }
    if (!memory.check(pattern, step)) return false;
  }
  return true;
}

}  // namespace konduktor

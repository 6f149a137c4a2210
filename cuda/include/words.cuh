// How is memory filled and compared by a GPU? Kernels over words of 8 bytes.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "found.cuh"
#include "pattern.h"

namespace konduktor {

static __global__ void write_words(std::uint64_t* words, unsigned long long count, Pattern pattern,
                                   int step, std::uint64_t seed) {
  for (unsigned long long i = first_index(); i < count; i += all_threads())
    words[i] = word(pattern, step, seed, i);
}

static __global__ void check_words(const std::uint64_t* words, unsigned long long count,
                                   Pattern pattern, int step, std::uint64_t seed, Found* found) {
  Finder finder(found);
  for (unsigned long long i = first_index(); i < count; i += all_threads()) {
    const std::uint64_t expected = word(pattern, step, seed, i);
    const std::uint64_t actual = words[i];
    if (actual != expected) finder.wrong(i, expected, actual);
  }
  finder.end();
}

}  // namespace konduktor

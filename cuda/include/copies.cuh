// How does a kernel move data? Vectors of 16 bytes, each thread its own, the grid over all.
#pragma once

#include <cuda_runtime.h>

#include "found.cuh"

namespace konduktor {

// `count` vectors; either side may be host memory or another GPU's. They do not overlap.
static __global__ void copy_vectors(uint4* __restrict__ to, const uint4* __restrict__ from,
                                    unsigned long long count) {
  const unsigned long long stride = all_threads();
  unsigned long long i = first_index();
  for (; i + (kAhead - 1) * stride < count; i += kAhead * stride) {
    uint4 held[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) held[j] = from[i + static_cast<unsigned>(j) * stride];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) to[i + static_cast<unsigned>(j) * stride] = held[j];
  }
  for (; i < count; i += stride) to[i] = from[i];
}

}  // namespace konduktor

// How does a kernel move data? Vectors of 16 bytes, each thread its own, the grid over all.
#pragma once

#include <cuda_runtime.h>

#include "found.cuh"

namespace konduktor {

// Both are of a multiple of 16 bytes; either may be host memory or another GPU's.
static __global__ void copy_vectors(uint4* to, const uint4* from, unsigned long long count) {
  for (unsigned long long i = first_index(); i < count; i += all_threads()) to[i] = from[i];
}

// a = b + s c on vectors of two doubles.
static __global__ void triad(double2* a, const double2* b, const double2* c, double s,
                             unsigned long long count) {
  for (unsigned long long i = first_index(); i < count; i += all_threads()) {
    const double2 left = b[i], right = c[i];
    a[i] = double2{left.x + s * right.x, left.y + s * right.y};
  }
}

}  // namespace konduktor

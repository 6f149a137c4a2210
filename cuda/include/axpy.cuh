// Which vectors of doubles have sums that are known exactly? y + n a x of operands.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "found.cuh"
#include "operands.h"

namespace konduktor {

template <class T>
__device__ inline unsigned long long bits_of(T value);
template <>
__device__ inline unsigned long long bits_of(double value) {
  union {
    double number;
    unsigned long long bits;
  } both;
  both.number = value;
  return both.bits;
}
template <>
__device__ inline unsigned long long bits_of(float value) {
  union {
    float number;
    unsigned int bits;
  } both;
  both.number = value;
  return both.bits;
}

static __global__ void begin_axpy(double* x, double* y, unsigned long long count,
                                  std::uint64_t seed) {
  for (unsigned long long i = first_index(); i < count; i += all_threads()) {
    x[i] = static_cast<double>(axpy_x(seed, i));
    y[i] = static_cast<double>(axpy_y(seed, i, 0));
  }
}

static __global__ void check_axpy(const double* y, unsigned long long count, std::uint64_t seed,
                                  std::uint64_t iterations, Found* found) {
  Finder finder(found);
  for (unsigned long long i = first_index(); i < count; i += all_threads()) {
    const double expected = static_cast<double>(axpy_y(seed, i, iterations));
    if (!(y[i] == expected)) finder.wrong(i, bits_of(expected), bits_of(y[i]));
  }
  finder.end();
}

// a = b + s c on `count` vectors of two doubles. `a` may be `b`.
static __global__ void scaled_sum(double2* a, const double2* b, const double2* __restrict__ c,
                                  double s, unsigned long long count) {
  const auto sum = [s](const double2& left, const double2& right) {
    return double2{left.x + s * right.x, left.y + s * right.y};
  };
  const unsigned long long stride = all_threads();
  unsigned long long i = first_index();
  for (; i + (kAhead - 1) * stride < count; i += kAhead * stride) {
    double2 left[kAhead], right[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      left[j] = b[i + static_cast<unsigned>(j) * stride];
      right[j] = c[i + static_cast<unsigned>(j) * stride];
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j)
      a[i + static_cast<unsigned>(j) * stride] = sum(left[j], right[j]);
  }
  for (; i < count; i += stride) a[i] = sum(b[i], c[i]);
}

}  // namespace konduktor

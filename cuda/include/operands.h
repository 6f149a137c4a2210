// Which matrices have a product that is known exactly, element by element, without computing it?
//
//   A(i,k) = p(i) f(k) + q(i) g(k)        B(k,j) = u(k) r(j) + v(k) t(j)
//   C(i,j) = p r Sum(f u) + p t Sum(f v) + q r Sum(g u) + q t Sum(g v)
//
// All vectors are small nonzero integers out of a hash, so A and B look like noise and C costs four
// products. q and t are even: where all are +-1 or +-2, no element is 0 and hides an error of the
// other operand.
//
// Invariant: no sum of absolute values |A(i,k) B(k,j)| over k reaches 2^53 (double) or 2^24 (float
// sums of single, TF32 and half products), and no element of A or B has more bits than its type's
// significand. So nothing is ever rounded, in whatever order it is added, and each result is
// compared bit by bit. Sizes up to 16384.
#pragma once

#include <cstdint>

#include "pattern.h"
#include "portable.h"

namespace konduktor {

constexpr int kLargestSize = 16384;

// Largest absolute values of the vectors.
struct Widths {
  int outer_a;  // p, q / 2
  int inner_a;  // f, g
  int inner_b;  // u, v
  int outer_b;  // r, t / 2
};

// Largest absolute value of an element of A, of B, and of any partial sum.
constexpr std::int64_t largest_a(Widths w) { return std::int64_t{3} * w.outer_a * w.inner_a; }
constexpr std::int64_t largest_b(Widths w) { return std::int64_t{3} * w.outer_b * w.inner_b; }
constexpr std::int64_t largest_sum(Widths w, int size) {
  return largest_a(w) * largest_b(w) * size;
}

// Double: both operands have 19 significant bits.
constexpr Widths kDoubleWidths{420, 420, 420, 420};
// Float sums: in turn A wide (9 bits, fits TF32 and half) and B narrow, and the other way round.
constexpr Widths kWideTimesNarrow{11, 10, 1, 1};
constexpr Widths kNarrowTimesWide{1, 1, 10, 11};

static_assert(largest_a(kDoubleWidths) < (std::int64_t{1} << 24), "int32 is enough for an element");
static_assert(largest_sum(kDoubleWidths, kLargestSize) < std::int64_t{1} << 53, "exact: double");
static_assert(largest_a(kWideTimesNarrow) <= 2048, "exact in half and TF32");
static_assert(largest_b(kNarrowTimesWide) <= 2048, "exact in half and TF32");
static_assert(largest_sum(kWideTimesNarrow, kLargestSize) < 1 << 24, "exact: float");
static_assert(largest_sum(kNarrowTimesWide, kLargestSize) < 1 << 24, "exact: float");

constexpr Widths float_widths(std::uint64_t iteration) {
  return iteration % 2 == 0 ? kWideTimesNarrow : kNarrowTimesWide;
}

// A nonzero integer of at most `width`, by seed, vector (0 to 7) and index.
KONDUKTOR_BOTH constexpr int small_integer(std::uint64_t seed, int vector, int index, int width) {
  const std::uint64_t bits = mixed(seed * 8 + static_cast<unsigned>(vector),
                                   static_cast<unsigned>(index));
  const int magnitude = 1 + static_cast<int>((bits >> 1) % static_cast<unsigned>(width));
  return bits & 1 ? -magnitude : magnitude;
}

enum Which : int { kP, kQ, kF, kG, kU, kV, kR, kT };

// The four sums of the inner vectors.
struct Sums {
  std::int64_t fu, fv, gu, gv;
};

inline Sums sums_of(std::uint64_t seed, Widths w, int size) {
  Sums sums{0, 0, 0, 0};
  for (int k = 0; k < size; ++k) {
    const std::int64_t f = small_integer(seed, kF, k, w.inner_a);
    const std::int64_t g = small_integer(seed, kG, k, w.inner_a);
    const std::int64_t u = small_integer(seed, kU, k, w.inner_b);
    const std::int64_t v = small_integer(seed, kV, k, w.inner_b);
    sums.fu += f * u;
    sums.fv += f * v;
    sums.gu += g * u;
    sums.gv += g * v;
  }
  return sums;
}

KONDUKTOR_BOTH constexpr int element_a(std::uint64_t seed, Widths w, int i, int k) {
  return small_integer(seed, kP, i, w.outer_a) * small_integer(seed, kF, k, w.inner_a) +
         2 * small_integer(seed, kQ, i, w.outer_a) * small_integer(seed, kG, k, w.inner_a);
}

KONDUKTOR_BOTH constexpr int element_b(std::uint64_t seed, Widths w, int k, int j) {
  return small_integer(seed, kU, k, w.inner_b) * small_integer(seed, kR, j, w.outer_b) +
         2 * small_integer(seed, kV, k, w.inner_b) * small_integer(seed, kT, j, w.outer_b);
}

KONDUKTOR_BOTH constexpr std::int64_t element_c(std::uint64_t seed, Widths w, Sums s, int i,
                                                int j) {
  const std::int64_t p = small_integer(seed, kP, i, w.outer_a);
  const std::int64_t q = 2 * small_integer(seed, kQ, i, w.outer_a);
  const std::int64_t r = small_integer(seed, kR, j, w.outer_b);
  const std::int64_t t = 2 * small_integer(seed, kT, j, w.outer_b);
  return p * (r * s.fu + t * s.fv) + q * (r * s.gu + t * s.gv);
}

// DAXPY: y starts as an integer, a = 3, x < 2^16; after n < 2^34 iterations y is below 2^52, exact.
constexpr int kAlpha = 3;

KONDUKTOR_BOTH constexpr std::int64_t axpy_x(std::uint64_t seed, std::uint64_t index) {
  return static_cast<std::int64_t>(mixed(seed, index) & 0xffff) + 1;
}

KONDUKTOR_BOTH constexpr std::int64_t axpy_y(std::uint64_t seed, std::uint64_t index,
                                             std::uint64_t iterations) {
  return static_cast<std::int64_t>(mixed(seed, index) >> 40) +
         static_cast<std::int64_t>(iterations) * kAlpha * axpy_x(seed, index);
}

}  // namespace konduktor

// How does a GPU make operands with a known product, and compare a product with it?
//
// The vectors of operands.h are worked out once for each iteration, so that making and comparing
// cost the bandwidth of a matrix, not its hashes.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "axpy.cuh"
#include "found.cuh"
#include "operands.h"

namespace konduktor {

// An integer as an element of a matrix: exact, see operands.h.
template <class T>
__device__ inline T element(int value) {
  return static_cast<T>(value);
}
template <>
__device__ inline __half element<__half>(int value) {
  return __int2half_rn(value);
}

// Pointers into GPU memory; `size` entries each.
struct Vectors {
  int *p, *q, *f, *g, *u, *v, *r, *t;
  std::int64_t *with_p, *with_q;  // C(i,j) = p(i) with_p(j) + q(i) with_q(j)
};

static __global__ void make_vectors(Vectors to, std::uint64_t seed, Widths widths, Sums sums,
                                    int size) {
  for (unsigned long long at = first_index(); at < static_cast<unsigned>(size);
       at += all_threads()) {
    const int i = static_cast<int>(at);
    to.p[i] = small_integer(seed, kP, i, widths.outer_a);
    to.q[i] = 2 * small_integer(seed, kQ, i, widths.outer_a);
    to.f[i] = small_integer(seed, kF, i, widths.inner_a);
    to.g[i] = small_integer(seed, kG, i, widths.inner_a);
    to.u[i] = small_integer(seed, kU, i, widths.inner_b);
    to.v[i] = small_integer(seed, kV, i, widths.inner_b);
    const std::int64_t r = small_integer(seed, kR, i, widths.outer_b);
    const std::int64_t t = 2 * small_integer(seed, kT, i, widths.outer_b);
    to.r[i] = static_cast<int>(r);
    to.t[i] = static_cast<int>(t);
    to.with_p[i] = r * sums.fu + t * sums.fv;
    to.with_q[i] = r * sums.gu + t * sums.gv;
  }
}

// A and B by rows. Blocks take rows in turn, threads columns.
template <class T>
__global__ void make_operands(T* a, T* b, Vectors from, int size) {
  for (int row = static_cast<int>(blockIdx.x); row < size; row += static_cast<int>(gridDim.x)) {
    const std::size_t begin = static_cast<std::size_t>(row) * static_cast<unsigned>(size);
    const int p = from.p[row], q = from.q[row], u = from.u[row], v = from.v[row];
    for (int column = static_cast<int>(threadIdx.x); column < size;
         column += static_cast<int>(blockDim.x)) {
      const std::size_t at = begin + static_cast<unsigned>(column);
      a[at] = element<T>(p * from.f[column] + q * from.g[column]);
      b[at] = element<T>(u * from.r[column] + v * from.t[column]);
    }
  }
}

// Each element of C against its exact value; a NaN is wrong too.
template <class T>
__global__ void check_product(const T* c, Vectors from, int size, Found* found) {
  Finder finder(found);
  for (int row = static_cast<int>(blockIdx.x); row < size; row += static_cast<int>(gridDim.x)) {
    const std::size_t begin = static_cast<std::size_t>(row) * static_cast<unsigned>(size);
    const std::int64_t p = from.p[row], q = from.q[row];
    for (int column = static_cast<int>(threadIdx.x); column < size;
         column += static_cast<int>(blockDim.x)) {
      const std::size_t at = begin + static_cast<unsigned>(column);
      const T expected = static_cast<T>(p * from.with_p[column] + q * from.with_q[column]);
      if (!(c[at] == expected)) finder.wrong(at, bits_of(expected), bits_of(c[at]));
    }
  }
  finder.end();
}

}  // namespace konduktor

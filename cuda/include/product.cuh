// How is a matrix product computed without tensor cores? C = A B, all by rows, N x N.
//
// Invariant: N is a multiple of the tile (128 for float, 64 for double); the caller sees to it.
#pragma once

#include <cuda_runtime.h>

#include "runtime.cuh"

namespace konduktor {

// A block of 256 threads makes a tile of 16 * Each rows and columns. A thread makes Each x Each
// elements, in groups of one 16-byte vector that are 16 vectors apart, so that neighbouring threads
// read neighbouring vectors of shared memory.
template <class T>
struct Tiling;
template <>
struct Tiling<float> {
  using Vector = float4;
  static constexpr int kEach = 8, kPerVector = 4;
};
template <>
struct Tiling<double> {
  using Vector = double2;
  static constexpr int kEach = 4, kPerVector = 2;
};

template <class T>
constexpr int kTile = 16 * Tiling<T>::kEach;
constexpr int kDepth = 8;  // of a tile of A and B

template <class T>
__global__ void __launch_bounds__(256) product(const T* a, const T* b, T* c, int size) {
  using Vector = typename Tiling<T>::Vector;
  constexpr int kEach = Tiling<T>::kEach, kPer = Tiling<T>::kPerVector, kSide = kTile<T>;
  constexpr int kVectors = kDepth * kSide / kPer;  // of a tile; one for each thread
  static_assert(kVectors == 256, "a thread brings one vector of A and one of B");
  __shared__ __align__(16) T tile_a[2][kDepth][kSide];  // transposed
  __shared__ __align__(16) T tile_b[2][kDepth][kSide];

  const int thread = static_cast<int>(threadIdx.x);
  const int tiles = size / kSide;
  const int first_row = static_cast<int>(blockIdx.x) / tiles * kSide;
  const int first_column = static_cast<int>(blockIdx.x) % tiles * kSide;
  const std::size_t width = static_cast<unsigned>(size);

  // Which vector this thread brings.
  const int a_row = thread / (kDepth / kPer), a_depth = thread % (kDepth / kPer) * kPer;
  const int b_depth = thread / (kSide / kPer), b_column = thread % (kSide / kPer) * kPer;
  const T* from_a = a + static_cast<std::size_t>(first_row + a_row) * width +
                    static_cast<unsigned>(a_depth);
  const T* from_b = b + static_cast<std::size_t>(b_depth) * width +
                    static_cast<unsigned>(first_column + b_column);

  const auto put = [&](int half, const Vector& next_a, const Vector& next_b) {
    const T* parts = reinterpret_cast<const T*>(&next_a);
    for (int i = 0; i < kPer; ++i) tile_a[half][a_depth + i][a_row] = parts[i];
    *reinterpret_cast<Vector*>(&tile_b[half][b_depth][b_column]) = next_b;
  };

  const int x = thread % 16, y = thread / 16;
  T sums[kEach][kEach] = {};
  put(0, *reinterpret_cast<const Vector*>(from_a), *reinterpret_cast<const Vector*>(from_b));
  __syncthreads();

  for (int depth = 0, half = 0; depth < size; depth += kDepth, half ^= 1) {
    Vector next_a{}, next_b{};
    const bool more = depth + kDepth < size;
    if (more) {
      from_a += kDepth;
      from_b += kDepth * width;
      next_a = *reinterpret_cast<const Vector*>(from_a);
      next_b = *reinterpret_cast<const Vector*>(from_b);
    }
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      T left[kEach], right[kEach];
#pragma unroll
      for (int group = 0; group < kEach / kPer; ++group) {
        *reinterpret_cast<Vector*>(&left[group * kPer]) =
            *reinterpret_cast<const Vector*>(&tile_a[half][k][(group * 16 + y) * kPer]);
        *reinterpret_cast<Vector*>(&right[group * kPer]) =
            *reinterpret_cast<const Vector*>(&tile_b[half][k][(group * 16 + x) * kPer]);
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] += left[i] * right[j];
    }
    if (more) put(half ^ 1, next_a, next_b);
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = first_row + (i / kPer * 16 + y) * kPer + i % kPer;
    T* to = c + static_cast<std::size_t>(row) * width + static_cast<unsigned>(first_column);
#pragma unroll
    for (int group = 0; group < kEach / kPer; ++group)
      *reinterpret_cast<Vector*>(&to[(group * 16 + x) * kPer]) =
          *reinterpret_cast<const Vector*>(&sums[i][group * kPer]);
  }
}

template <class T>
void multiply(const T* a, const T* b, T* c, int size, cudaStream_t stream) {
  const int tiles = size / kTile<T>;
  launch(product<T>, tiles * tiles, 256, stream, a, b, c, size);
}

}  // namespace konduktor

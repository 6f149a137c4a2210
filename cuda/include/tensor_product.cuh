// How is a matrix product computed by tensor cores? C = A B, all by rows, N x N.
//
// By the warp matrix functions of CUDA C++ alone, so that one source serves all GPUs from compute
// capability 7.0 (half) or 8.0 (TF32, double). What only one architecture has is left out: it is
// for cuBLAS to show the peak.
//
// Invariant: N is a multiple of 128; the caller sees to it, and to the compute capability.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

#include "runtime.cuh"

namespace konduktor {

// Element types and tiles. 8 warps, 2 by 4, each with kRows x kColumns of the block's tile.
// Rows of tiles in shared memory are padded: the warp functions want each tile's begin at 32 bytes,
// and rows that do not all begin in the same bank.
struct HalfKind {
  using In = __half;
  using Fragment = __half;
  using Out = float;
  static constexpr int kM = 16, kN = 16, kK = 16;
  static constexpr int kRows = 64, kColumns = 32, kDepth = 32, kPadding = 8;
  static constexpr int kComputeMajor = 7;
};
struct Tf32Kind {
  using In = float;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  using Fragment = nvcuda::wmma::precision::tf32;
#endif
  using Out = float;
  static constexpr int kM = 16, kN = 16, kK = 8;
  static constexpr int kRows = 64, kColumns = 32, kDepth = 16, kPadding = 4;
  static constexpr int kComputeMajor = 8;
};
struct DoubleKind {
  using In = double;
  using Fragment = double;
  using Out = double;
  static constexpr int kM = 8, kN = 8, kK = 4;
  static constexpr int kRows = 32, kColumns = 32, kDepth = 16, kPadding = 2;
  static constexpr int kComputeMajor = 8;
};

// A tile of kRows x kColumns elements, brought in vectors of 16 bytes by 256 threads: first into
// registers, and once the tile before is used up, into shared memory.
template <class T, int kRows, int kColumns, int kPadding>
class Tile {
 public:
  static constexpr int kWidth = kColumns + kPadding;
  static constexpr int kElements = kRows * kWidth;

  __device__ void bring(const T* from, std::size_t width) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int vector = i * 256 + static_cast<int>(threadIdx.x);
      const int row = vector / kPerRow, column = vector % kPerRow * kPer;
      vectors_[i] = *reinterpret_cast<const uint4*>(from + static_cast<unsigned>(row) * width +
                                                    static_cast<unsigned>(column));
    }
  }
  __device__ void put(T* tile) const {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int vector = i * 256 + static_cast<int>(threadIdx.x);
      const int row = vector / kPerRow, column = vector % kPerRow * kPer;
      *reinterpret_cast<uint4*>(tile + row * kWidth + column) = vectors_[i];
    }
  }

 private:
  static constexpr int kPer = 16 / static_cast<int>(sizeof(T));
  static constexpr int kPerRow = kColumns / kPer;
  static constexpr int kEach = kRows * kPerRow / 256;
  static_assert(kEach * 256 == kRows * kPerRow, "each thread brings as many");
  uint4 vectors_[kEach];
};

template <class Kind>
__global__ void __launch_bounds__(256)
    tensor_product(const typename Kind::In* a, const typename Kind::In* b, typename Kind::Out* c,
                   int size) {
#if __CUDA_ARCH__ >= 800
  constexpr bool kThere = true;
#else
  constexpr bool kThere = Kind::kComputeMajor < 8;
#endif
  if constexpr (kThere) {
    namespace wmma = nvcuda::wmma;
    using In = typename Kind::In;
    constexpr int kTileRows = 2 * Kind::kRows, kTileColumns = 4 * Kind::kColumns;
    constexpr int kDown = Kind::kRows / Kind::kM, kAcross = Kind::kColumns / Kind::kN;
    using TileA = Tile<In, kTileRows, Kind::kDepth, Kind::kPadding>;
    using TileB = Tile<In, Kind::kDepth, kTileColumns, Kind::kPadding>;
    __shared__ __align__(128) In shared_a[TileA::kElements];
    __shared__ __align__(128) In shared_b[TileB::kElements];

    const int across = size / kTileColumns;
    const int first_row = static_cast<int>(blockIdx.x) / across * kTileRows;
    const int first_column = static_cast<int>(blockIdx.x) % across * kTileColumns;
    const std::size_t width = static_cast<unsigned>(size);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int warp_row = warp / 4 * Kind::kRows, warp_column = warp % 4 * Kind::kColumns;

    wmma::fragment<wmma::accumulator, Kind::kM, Kind::kN, Kind::kK, typename Kind::Out>
        sums[kDown][kAcross];
#pragma unroll
    for (int i = 0; i < kDown; ++i)
#pragma unroll
      for (int j = 0; j < kAcross; ++j) wmma::fill_fragment(sums[i][j], 0);

    const In* from_a = a + static_cast<unsigned>(first_row) * width;
    const In* from_b = b + static_cast<unsigned>(first_column);
    TileA next_a;
    TileB next_b;
    next_a.bring(from_a, width);
    next_b.bring(from_b, width);
    for (int depth = 0; depth < size; depth += Kind::kDepth) {
      next_a.put(shared_a);
      next_b.put(shared_b);
      __syncthreads();
      if (depth + Kind::kDepth < size) {
        from_a += Kind::kDepth;
        from_b += Kind::kDepth * width;
        next_a.bring(from_a, width);
        next_b.bring(from_b, width);
      }
#pragma unroll
      for (int k = 0; k < Kind::kDepth; k += Kind::kK) {
        wmma::fragment<wmma::matrix_a, Kind::kM, Kind::kN, Kind::kK, typename Kind::Fragment,
                       wmma::row_major>
            left[kDown];
        wmma::fragment<wmma::matrix_b, Kind::kM, Kind::kN, Kind::kK, typename Kind::Fragment,
                       wmma::row_major>
            right[kAcross];
#pragma unroll
        for (int i = 0; i < kDown; ++i)
          wmma::load_matrix_sync(left[i],
                                 shared_a + (warp_row + i * Kind::kM) * TileA::kWidth + k,
                                 TileA::kWidth);
#pragma unroll
        for (int j = 0; j < kAcross; ++j)
          wmma::load_matrix_sync(right[j],
                                 shared_b + k * TileB::kWidth + warp_column + j * Kind::kN,
                                 TileB::kWidth);
#pragma unroll
        for (int i = 0; i < kDown; ++i)
#pragma unroll
          for (int j = 0; j < kAcross; ++j)
            wmma::mma_sync(sums[i][j], left[i], right[j], sums[i][j]);
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kDown; ++i)
#pragma unroll
      for (int j = 0; j < kAcross; ++j)
        wmma::store_matrix_sync(
            c + static_cast<unsigned>(first_row + warp_row + i * Kind::kM) * width +
                static_cast<unsigned>(first_column + warp_column + j * Kind::kN),
            sums[i][j], static_cast<unsigned>(size), wmma::mem_row_major);
  }
}

template <class Kind>
void multiply_by_tensor_cores(const typename Kind::In* a, const typename Kind::In* b,
                              typename Kind::Out* c, int size, cudaStream_t stream) {
  const int down = size / (2 * Kind::kRows), across = size / (4 * Kind::kColumns);
  launch(tensor_product<Kind>, down * across, 256, stream, a, b, c, size);
}

}  // namespace konduktor

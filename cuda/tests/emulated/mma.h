// Tensor cores on a CPU: the first thread of a warp does the work of all. Checks what the hardware
// asks of its callers: alignment, and values that TF32 holds.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "cuda_fp16.h"
#include "fibers.h"

namespace nvcuda {
namespace wmma {

namespace precision {
struct tf32 {};
}  // namespace precision

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
enum layout_t { mem_row_major };

namespace detail {
inline void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}
inline bool first_of_warp() { return emulated::here().thread.x % 32 == 0; }
inline double value(double number) { return number; }
inline double value(float number) { return static_cast<double>(number); }
inline double value(__half number) { return number.integer; }
template <class Use, int M, int N, int K>
struct Shape;
template <int M, int N, int K>
struct Shape<matrix_a, M, N, K> {
  static constexpr int rows = M, columns = K;
};
template <int M, int N, int K>
struct Shape<matrix_b, M, N, K> {
  static constexpr int rows = K, columns = N;
};
template <int M, int N, int K>
struct Shape<accumulator, M, N, K> {
  static constexpr int rows = M, columns = N;
};
}  // namespace detail

template <class Use, int M, int N, int K, class Element, class Layout = void>
struct fragment {
  static constexpr int rows = detail::Shape<Use, M, N, K>::rows;
  static constexpr int columns = detail::Shape<Use, M, N, K>::columns;
  double held[rows][columns];
};

template <class Fragment>
void fill_fragment(Fragment& to, int value) {
  if (!detail::first_of_warp()) return;
  for (auto& row : to.held)
    for (double& each : row) each = value;
}

template <class Use, int M, int N, int K, class Element, class T>
void load_matrix_sync(fragment<Use, M, N, K, Element, row_major>& to, const T* from,
                      unsigned width) {
  detail::demand(reinterpret_cast<std::uintptr_t>(from) % 32 == 0, "a tile is not at 32 bytes");
  detail::demand(width * sizeof(T) % 16 == 0, "rows of a tile are not at 16 bytes");
  if (!detail::first_of_warp()) return;
  for (int i = 0; i < to.rows; ++i)
    for (int j = 0; j < to.columns; ++j) {
      to.held[i][j] =
          detail::value(from[static_cast<unsigned>(i) * width + static_cast<unsigned>(j)]);
      detail::demand(sizeof(T) == 8 || (to.held[i][j] <= 2048 && to.held[i][j] >= -2048),
                     "not exact in TF32 or half");
    }
}

template <class A, class B, class Sum>
void mma_sync(Sum& to, const A& a, const B& b, const Sum& sum) {
  if (!detail::first_of_warp()) return;
  for (int i = 0; i < to.rows; ++i)
    for (int j = 0; j < to.columns; ++j) {
      double total = sum.held[i][j];
      for (int k = 0; k < a.columns; ++k) total += a.held[i][k] * b.held[k][j];
      to.held[i][j] = total;
    }
}

template <int M, int N, int K, class T>
void store_matrix_sync(T* to, const fragment<accumulator, M, N, K, T>& from, unsigned width,
                       layout_t) {
  detail::demand(reinterpret_cast<std::uintptr_t>(to) % 32 == 0, "a tile is not at 32 bytes");
  if (!detail::first_of_warp()) return;
  for (int i = 0; i < from.rows; ++i)
    for (int j = 0; j < from.columns; ++j)
      to[static_cast<unsigned>(i) * width + static_cast<unsigned>(j)] =
          static_cast<T>(from.held[i][j]);
}

}  // namespace wmma
}  // namespace nvcuda

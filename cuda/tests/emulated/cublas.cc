// cuBLAS as our programs see it: columns first, like the real one. EMULATED_CUBLAS_STATUS makes its
// products fail.
#include <cstdint>
#include <cstdlib>

namespace {

int status() {
  const char* text = std::getenv("EMULATED_CUBLAS_STATUS");
  return text ? std::atoi(text) : 0;
}

template <class In, class Out>
void product(int m, int n, int k, const In* a, int lda, const In* b, int ldb, Out* c, int ldc) {
  for (int column = 0; column < n; ++column)
    for (int row = 0; row < m; ++row) {
      double sum = 0;
      for (int i = 0; i < k; ++i)
        sum += static_cast<double>(a[i * lda + row]) * static_cast<double>(b[column * ldb + i]);
      c[column * ldc + row] = static_cast<Out>(sum);
    }
}

}  // namespace

extern "C" {

int cublasCreate_v2(void** handle) { return *handle = std::malloc(1), 0; }
int cublasDestroy_v2(void* handle) { return std::free(handle), 0; }
int cublasSetStream_v2(void*, void*) { return 0; }

int cublasDgemm_v2(void*, int, int, int m, int n, int k, const double*, const double* a, int lda,
                   const double* b, int ldb, const double*, double* c, int ldc) {
  product(m, n, k, a, lda, b, ldb, c, ldc);
  return status();
}

int cublasSgemm_v2(void*, int, int, int m, int n, int k, const float*, const float* a, int lda,
                   const float* b, int ldb, const float*, float* c, int ldc) {
  product(m, n, k, a, lda, b, ldb, c, ldc);
  return status();
}

// Half precision is an integer of two bytes here (cuda_fp16.h beside this).
int cublasGemmEx(void*, int, int, int m, int n, int k, const void*, const void* a, int a_type,
                 int lda, const void* b, int b_type, int ldb, const void*, void* c, int c_type,
                 int ldc, int compute, int) {
  constexpr int kFloat = 0, kHalf = 2, kCompute32 = 68, kFastTf32 = 77;
  if (c_type != kFloat || a_type != b_type) return 7;
  if (a_type == kHalf && compute == kCompute32)
    product(m, n, k, static_cast<const std::int16_t*>(a), lda, static_cast<const std::int16_t*>(b),
            ldb, static_cast<float*>(c), ldc);
  else if (a_type == kFloat && compute == kFastTf32)
    product(m, n, k, static_cast<const float*>(a), lda, static_cast<const float*>(b), ldb,
            static_cast<float*>(c), ldc);
  else
    return 7;
  return status();
}

}  // extern "C"

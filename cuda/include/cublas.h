// How is cuBLAS used where it is there, without being needed? Loaded at run time: the programs and
// the image stay small, and the library is the one that fits the site's driver.
#pragma once

#include <dlfcn.h>

#include <string>

#include "program.h"

namespace konduktor {

// Values of cublas_api.h and library_types.h that do not change between versions.
class Cublas {
 public:
  // Throws Failed when no version can be loaded.
  Cublas() {
    std::string tried;
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"}) {
      library_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library_) break;
      tried += (tried.empty() ? "" : ", ") + std::string(name);
    }
    if (!library_)
      throw Failed({"cublas", "cannot load " + tried,
                    "--cublas no takes the programs' own kernels"});
    find(create_, "cublasCreate_v2");
    find(destroy_, "cublasDestroy_v2");
    find(set_stream_, "cublasSetStream_v2");
    find(dgemm_, "cublasDgemm_v2");
    find(sgemm_, "cublasSgemm_v2");
    find(gemm_ex_, "cublasGemmEx");
    demand(create_(&handle_), "cublasCreate");
  }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
  ~Cublas() {
    if (handle_) destroy_(handle_);
  }

  void use(void* stream) { demand(set_stream_(handle_, stream), "cublasSetStream"); }

  // C = A B, N x N, by rows. cuBLAS counts by columns: what it sees is C' = B' A'.
  void dgemm(const double* a, const double* b, double* c, int n) {
    const double one = 1, zero = 0;
    demand(dgemm_(handle_, 0, 0, n, n, n, &one, b, n, a, n, &zero, c, n), "cublasDgemm");
  }
  void sgemm(const float* a, const float* b, float* c, int n) {
    const float one = 1, zero = 0;
    demand(sgemm_(handle_, 0, 0, n, n, n, &one, b, n, a, n, &zero, c, n), "cublasSgemm");
  }
  void tf32(const float* a, const float* b, float* c, int n) {
    constexpr int kFastTf32 = 77;  // CUBLAS_COMPUTE_32F_FAST_TF32
    gemm(a, b, c, n, kFloat, kFastTf32);
  }
  void fp16(const void* a, const void* b, float* c, int n) {
    constexpr int kCompute32 = 68;  // CUBLAS_COMPUTE_32F
    constexpr int kHalf = 2;        // CUDA_R_16F
    gemm(a, b, c, n, kHalf, kCompute32);
  }

 private:
  static constexpr int kFloat = 0;  // CUDA_R_32F

  void gemm(const void* a, const void* b, float* c, int n, int type, int compute) {
    const float one = 1, zero = 0;
    constexpr int kDefault = -1;  // CUBLAS_GEMM_DEFAULT
    demand(gemm_ex_(handle_, 0, 0, n, n, n, &one, b, type, n, a, type, n, &zero, c, kFloat, n,
                    compute, kDefault),
           "cublasGemmEx");
  }

  template <class Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    if (!function) throw Failed({"cublas", std::string("libcublas has no ") + name, ""});
  }
  static void demand(int status, const char* doing) {
    if (status != 0)
      throw Failed({"cublas", std::string(doing) + " ended with status " + std::to_string(status),
                    "--cublas no takes the programs' own kernels"});
  }

  using Handle = void*;
  void* library_ = nullptr;
  Handle handle_ = nullptr;
  int (*create_)(Handle*) = nullptr;
  int (*destroy_)(Handle) = nullptr;
  int (*set_stream_)(Handle, void*) = nullptr;
  int (*dgemm_)(Handle, int, int, int, int, int, const double*, const double*, int, const double*,
                int, const double*, double*, int) = nullptr;
  int (*sgemm_)(Handle, int, int, int, int, int, const float*, const float*, int, const float*, int,
                const float*, float*, int) = nullptr;
  int (*gemm_ex_)(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*,
                  int, int, const void*, void*, int, int, int, int) = nullptr;
};

}  // namespace konduktor

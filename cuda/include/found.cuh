// Which elements were wrong? Counted and listed by the GPU's threads, read by the host.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <vector>

#include "report.h"
#include "runtime.cuh"

namespace konduktor {

struct Wrong {
  unsigned long long index, expected, actual;
};

// Wrong words, counted and some of them listed. In GPU memory, zero at first.
struct Found {
  unsigned long long total;
  unsigned long long lowest;  // the inverse of the lowest index, so that it is zero at first
  unsigned int listed;        // asked to be; the list holds kMostErrors
  Wrong list[kMostErrors];
};

// What one thread has found. At its end it adds to the common count, once.
class Finder {
 public:
  __device__ explicit Finder(Found* found) : found_(found) {}
  __device__ void wrong(unsigned long long index, unsigned long long expected,
                        unsigned long long actual) {
    if (~index > lowest_) lowest_ = ~index;
    if (++count_ > kMostErrors) return;
    const unsigned int place = atomicAdd(&found_->listed, 1u);
    if (place < kMostErrors) found_->list[place] = Wrong{index, expected, actual};
  }
  __device__ void end() const {
    if (!count_) return;
    atomicAdd(&found_->total, count_);
    atomicMax(&found_->lowest, lowest_);
  }

 private:
  Found* found_;
  unsigned long long count_ = 0, lowest_ = 0;
};

// Grid of the kernels over words: enough threads to keep the memory busy.
constexpr int kBlock = 256;
inline int blocks_on(int gpu) { return 8 * attribute(cudaDevAttrMultiProcessorCount, gpu); }

__device__ inline unsigned long long first_index() {
  return static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline unsigned long long all_threads() {
  return static_cast<unsigned long long>(gridDim.x) * blockDim.x;
}

// Loads of so many vectors are under way before the first is stored: one for each thread is not
// enough to keep the memory of a large GPU busy.
constexpr int kAhead = 4;

// The list on the GPU, with its way to the host.
class FoundList {
 public:
  FoundList() : memory_(sizeof(Found)) { clear(); }
  Found* on_gpu() const { return memory_.as<Found>(); }
  void clear() { set_bytes(memory_.as<void>(), 0, sizeof(Found)); }

  // What was found since it was cleared; after the stream has come to its end.
  Found taken() {
    Found found{};
    check(cudaMemcpy(&found, memory_.as<void>(), sizeof found, cudaMemcpyDeviceToHost),
          "reading what was found");
    if (found.total) clear();
    return found;
  }

 private:
  DeviceMemory memory_;
};

// Those of the list, as the report has them; `element` bytes each.
inline std::vector<WrongWord> listed(const Found& found, const std::string& test, int element = 8) {
  std::vector<WrongWord> words;
  for (unsigned int i = 0; i < found.listed && i < kMostErrors; ++i) {
    WrongWord wrong;
    wrong.kind = "mismatch";
    wrong.test = test;
    wrong.address = found.list[i].index * static_cast<unsigned>(element);
    wrong.expected = found.list[i].expected;
    wrong.actual = found.list[i].actual;
    wrong.bits = 8 * element;
    words.push_back(wrong);
  }
  return words;
}

}  // namespace konduktor

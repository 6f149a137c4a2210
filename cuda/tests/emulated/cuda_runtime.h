// What does CUDA's runtime do, as far as our programs use it, on a CPU? For tests alone.
//
// A kernel runs thread by thread: the threads of a block are fibers that change at barriers, blocks
// follow each other. So indices, tiles, barriers and atomics are those of the kernel. Time is made
// up and the same in each run: streams have clocks of their own that copies and kernels move on.
// What cannot be seen here: races between blocks or warps, memory ordering, speed, the driver.
//
// The environment says what machine it is: EMULATED_GPUS (2), EMULATED_MEMORY (bytes of each,
// 64 MiB), EMULATED_ERROR "NAME:CODE:GPU" (calls of that name on that GPU return that code),
// EMULATED_HANG "NAME:GPU" (they do not return).
#pragma once

#define KONDUKTOR_EMULATED 1
#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __CUDA_ARCH__ 900

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "fibers.h"

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

#define threadIdx (emulated::here().thread)
#define blockIdx (emulated::here().block)
#define blockDim (emulated::here().threads)
#define gridDim (emulated::here().blocks)
inline void __syncthreads() { emulated::barrier(); }

template <class T>
T atomicAdd(T* at, T value) {
  return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicMax(T* at, T value) {
  T old = *at;
  while (old < value && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
  return old;
}

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNotReady = 600,
};
enum cudaDeviceAttr : int {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
};
enum cudaMemcpyKind : int {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
constexpr unsigned cudaHostRegisterPortable = 1, cudaHostRegisterMapped = 2;

struct cudaUUID_t {
  char bytes[16];
};
struct cudaDeviceProp {
  char name[256];
  cudaUUID_t uuid;
  int major, minor;
};

namespace emulated {

struct StreamClock {
  double seconds = 0;
};
struct Mark {
  double seconds = 0;
};
struct Machine {
  std::mutex mutex;
  std::map<char*, std::pair<std::size_t, int>> memory;  // size, GPU
  std::map<int, std::size_t> used;
  double now = 0;  // of the last event that was waited for
};
inline Machine& machine() {
  static Machine the;
  return the;
}
inline int& current_gpu() {
  thread_local int gpu = 0;
  return gpu;
}
inline std::uint64_t setting(const char* name, std::uint64_t standard) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : standard;
}
inline int gpus() { return static_cast<int>(setting("EMULATED_GPUS", 2)); }
inline std::size_t memory_bytes() { return setting("EMULATED_MEMORY", 64u << 20); }

// What the environment wants of this call.
inline cudaError_t told(const char* call) {
  const std::string here = std::string(call) + ":";
  if (const char* text = std::getenv("EMULATED_HANG"))
    if (here + std::to_string(current_gpu()) == text)
      for (;;) pause();
  if (const char* text = std::getenv("EMULATED_ERROR")) {
    const std::string wanted = text;
    const std::size_t last = wanted.rfind(':');
    const std::size_t middle = wanted.rfind(':', last - 1);
    if (wanted.substr(0, middle + 1) == here &&
        wanted.substr(last + 1) == std::to_string(current_gpu()))
      return static_cast<cudaError_t>(std::stoi(wanted.substr(middle + 1, last - middle - 1)));
  }
  return cudaSuccess;
}

// Made-up speeds in bytes a second: to or from the host, between GPUs, within one.
inline double copy_seconds(std::size_t bytes, cudaMemcpyKind kind) {
  const double speed = kind == cudaMemcpyDeviceToDevice ? 1e12 : kind == cudaMemcpyDefault ? 3e11
                                                                                           : 5e10;
  return static_cast<double>(bytes) / speed;
}

}  // namespace emulated

using cudaStream_t = emulated::StreamClock*;
using cudaEvent_t = emulated::Mark*;

namespace emulated {

// One kernel at a time, whichever: shared memory is static here, and so are the threads' stacks.
inline std::mutex& running() {
  static std::mutex mutex;
  return mutex;
}

template <class... Parameters, class... Arguments>
void start_kernel(void (*kernel)(Parameters...), int blocks, int threads, cudaStream_t stream,
                  Arguments... arguments) {
  const std::lock_guard<std::mutex> lock(running());
  run_blocks(blocks, threads, [&] { kernel(arguments...); });
  if (stream) stream->seconds += 1e-3;
}

}  // namespace emulated

inline const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorEmulated";
}
inline const char* cudaGetErrorString(cudaError_t error) {
  thread_local std::string text;
  text = "error " + std::to_string(static_cast<int>(error));
  return text.c_str();
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated::gpus();
  return emulated::told("cudaGetDeviceCount");
}
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
inline cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13050, cudaSuccess; }
inline cudaError_t cudaSetDevice(int gpu) {
  emulated::current_gpu() = gpu;
  return emulated::told("cudaSetDevice");
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int gpu) {
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "Emulated GPU");
  properties->uuid.bytes[15] = static_cast<char>(gpu);
  properties->major = static_cast<int>(emulated::setting("EMULATED_COMPUTE", 90) / 10);
  properties->minor = static_cast<int>(emulated::setting("EMULATED_COMPUTE", 90) % 10);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int gpu) {
  std::snprintf(text, static_cast<std::size_t>(size), "0000:%02X:00.0", 0x3b + gpu);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  const int compute = static_cast<int>(emulated::setting("EMULATED_COMPUTE", 90));
  *value = which == cudaDevAttrMultiProcessorCount      ? 1
           : which == cudaDevAttrL2CacheSize            ? 65536
           : which == cudaDevAttrComputeCapabilityMajor ? compute / 10
                                                        : compute % 10;
  return cudaSuccess;
}

inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  emulated::Machine& machine = emulated::machine();
  const std::lock_guard<std::mutex> lock(machine.mutex);
  *total = emulated::memory_bytes();
  *free = *total - machine.used[emulated::current_gpu()];
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (const cudaError_t error = emulated::told("cudaMalloc")) return error;
  emulated::Machine& machine = emulated::machine();
  const std::lock_guard<std::mutex> lock(machine.mutex);
  std::size_t& used = machine.used[emulated::current_gpu()];
  if (used + bytes > emulated::memory_bytes()) return cudaErrorMemoryAllocation;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*data, 0xcd, bytes);  // memory of a GPU is not zero at first
  used += bytes;
  machine.memory[static_cast<char*>(*data)] = {bytes, emulated::current_gpu()};
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* data) {
  emulated::Machine& machine = emulated::machine();
  const std::lock_guard<std::mutex> lock(machine.mutex);
  const auto found = machine.memory.find(static_cast<char*>(data));
  assert(found != machine.memory.end());
  machine.used[found->second.second] -= found->second.first;
  machine.memory.erase(found);
  std::free(data);
  return cudaSuccess;
}
inline cudaError_t cudaHostRegister(void*, std::size_t, unsigned) {
  return emulated::told("cudaHostRegister");
}
inline cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
inline cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  return *device = host, cudaSuccess;
}
inline cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  return cudaMemset(data, value, bytes);
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return emulated::told("cudaMemcpy");
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                                   cudaMemcpyKind kind, cudaStream_t stream) {
  std::memcpy(to, from, bytes);
  stream->seconds += emulated::copy_seconds(bytes, kind);
  return emulated::told("cudaMemcpyAsync");
}
inline cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes,
                                       cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}
inline cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = std::getenv("EMULATED_NO_PEERS") == nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return cudaSuccess; }

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return *stream = new emulated::StreamClock, cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return emulated::told("cudaStreamSynchronize");
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return *event = new emulated::Mark, cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return event->seconds = stream->seconds, cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  emulated::machine().now = event->seconds;
  return emulated::told("cudaEventSynchronize");
}
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  return event->seconds > emulated::machine().now ? cudaErrorNotReady : cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return stream->seconds = std::max(stream->seconds, event->seconds), cudaSuccess;
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  *milliseconds = static_cast<float>((to->seconds - from->seconds) * 1000);
  return cudaSuccess;
}

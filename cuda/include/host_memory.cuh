// Where does host memory lie that a GPU copies from and to? Beside the GPU, touched, and pinned.
#pragma once

#include <cuda_runtime.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "numa.h"
#include "runtime.cuh"

namespace konduktor {

class HostMemory {
 public:
  // Throws Failed: out-of-memory, or what CUDA says of pinning it.
  HostMemory(std::size_t bytes, int node) : bytes_(bytes) {
    const std::string what = std::to_string(bytes) + " bytes of host memory";
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
      throw Failed({"out-of-memory", what + ": " + std::strerror(errno), "a smaller --bytes"});
    data_ = data;
    madvise(data, bytes, MADV_HUGEPAGE);  // only faster
    bind_error_ = node < 0 ? 0 : put_on_node(data, bytes, node);
    std::memset(data, 0, bytes);  // now the pages are where they are
    const cudaError_t error =
        cudaHostRegister(data, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
    if (error != cudaSuccess) {
      munmap(data, bytes);
      data_ = nullptr;
      check(error, "pinning " + what);
    }
  }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory() {
    if (!data_) return;
    cudaHostUnregister(data_);
    munmap(data_, bytes_);
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  // The same memory as a kernel addresses it.
  template <class T>
  T* mapped() const {
    void* pointer = nullptr;
    check(cudaHostGetDevicePointer(&pointer, data_, 0), "mapping host memory");
    return static_cast<T*>(pointer);
  }
  int bind_error() const { return bind_error_; }  // errno; 0: it was, or there was no need

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
  int bind_error_ = 0;
};

// Binds the calling thread beside the GPU, and says what came of it for memory allocated then.
class Beside {
 public:
  Beside(const std::string& sysfs, const Gpu& gpu) : place_(place_of(sysfs, gpu.device)) {
    if (const auto cpus = cpus_of(place_.cpus)) cpu_error_ = run_on(*cpus);
  }
  int node() const { return place_.node; }

  Binding binding(const HostMemory& memory) const {
    Binding binding;
    binding.place = place_;
    binding.memory_node = node_of(memory.as<void>());
    if (place_.cpus.empty()) {
      binding.note = "sysfs does not say where the GPU is";
    } else if (cpu_error_) {
      binding.note = std::string("its CPUs are not for this process: ") + std::strerror(cpu_error_);
    } else if (memory.bind_error()) {
      binding.note = std::string("mbind: ") + std::strerror(memory.bind_error());
    } else if (place_.node >= 0 && binding.memory_node >= 0 && binding.memory_node != place_.node) {
      binding.note = "memory came from another node";
    }
    binding.bound = binding.note.empty();
    return binding;
  }

 private:
  Place place_;
  int cpu_error_ = 0;
};

}  // namespace konduktor

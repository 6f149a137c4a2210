// How does CUDA's runtime look to the programs: errors with a meaning, memory that is freed, GPUs
// with names?
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "program.h"

namespace konduktor {

inline std::string version_text(int version) {  // 13050 is 13.5
  return version <= 0 ? "" : std::to_string(version / 1000) + "." +
                                 std::to_string(version % 1000 / 10);
}

// What an error means to who has to act. Numbers of driver_types.h: the same in CUDA 12 and 13, and
// some names are newer than 12.0.
inline Failure meaning(cudaError_t error, const std::string& doing) {
  const std::string message =
      doing + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error);
  switch (static_cast<int>(error)) {
    case 2:  // MemoryAllocation
      return {"out-of-memory", message, "another process uses the GPU, or --bytes is too large"};
    case 3:    // InitializationError
    case 999:  // Unknown
      return {"driver", message, "look at the kernel log: NVRM lines"};
    case 35: {  // InsufficientDriver: also when there is no libcuda at all
      if (void* library = dlopen("libcuda.so.1", RTLD_LAZY)) {
        dlclose(library);
        int driver = 0, runtime = 0;
        static_cast<void>(cudaDriverGetVersion(&driver));
        static_cast<void>(cudaRuntimeGetVersion(&runtime));
        return {"driver-too-old",
                "the driver is for CUDA " + version_text(driver) + ", this program for " +
                    version_text(runtime),
                "a newer driver, or a build with an older CUDA"};
      }
      return {"no-driver", "libcuda.so.1 cannot be loaded",
              "install the driver; in a container, have the NVIDIA container toolkit mount it"};
    }
    case 34:  // StubLibrary
      return {"no-driver", message, "libcuda.so.1 is the toolkit's stub: take it off the path"};
    case 46:  // DevicesUnavailable
      return {"gpu-busy", message, "nvidia-smi -q -d COMPUTE shows the compute mode"};
    case 98:   // InvalidDeviceFunction
    case 209:  // NoKernelImageForDevice
    case 222:  // UnsupportedPtxVersion
      return {"architecture", message, "this build has no code for the GPU: see its documentation"};
    case 100:  // NoDevice
      return {"no-gpu", message,
              "look at the devices of the container and at CUDA_VISIBLE_DEVICES"};
    case 802:  // SystemNotReady
      return {"fabric", message, "is the fabric manager running? nvidia-smi -q shows Fabric State"};
    case 803:  // SystemDriverMismatch
      return {"driver-mismatch", message,
              "reboot, or load the kernel module that fits the library"};
    default:
      return {"cuda", message, ""};
  }
}

// Errors with which the driver blames the hardware, not the program.
inline bool blames_hardware(cudaError_t error) {
  switch (static_cast<int>(error)) {
    case 214:  // ECCUncorrectable
    case 220:  // NvlinkUncorrectable
    case 714:  // HardwareStackError
      return true;
    default:
      return false;
  }
}

inline void check(cudaError_t error, const std::string& doing) {
  if (error == cudaSuccess) return;
  const Failure failure = meaning(error, doing);
  if (blames_hardware(error)) throw HardwareFailed(failure.message);
  throw Failed(failure);
}

template <class... Parameters>
void launch(void (*kernel)(Parameters...), int blocks, int threads, cudaStream_t stream,
            std::common_type_t<Parameters>... arguments) {
#if defined(KONDUKTOR_EMULATED)
  emulated::start_kernel(kernel, blocks, threads, stream, arguments...);
#else
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel),
                         dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)),
                         pointers, 0, stream),
        "starting a kernel");
#endif
}

// Memory of the current GPU.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes) : bytes_(bytes) {
    check(cudaMalloc(&data_, bytes), "allocating " + std::to_string(bytes) + " bytes on the GPU");
  }
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory() {
    if (data_) cudaFree(data_);
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Work on it and on the default stream of the same GPU (copies and memsets without a stream) is in
// the order of the calls.
class Stream {
 public:
  Stream() { check(cudaStreamCreate(&stream_), "making a stream"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }
  void wait(const char* doing) const { check(cudaStreamSynchronize(stream_), doing); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "making an event"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  operator cudaEvent_t() const { return event_; }
  void record(cudaStream_t stream) const { check(cudaEventRecord(event_, stream), "an event"); }
  void wait(const char* doing) const { check(cudaEventSynchronize(event_), doing); }
  // Seconds from an earlier one to this one; both have happened. Negative: this one was earlier.
  double since(const Event& earlier) const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, earlier, *this), "reading an event");
    return static_cast<double>(milliseconds) / 1000;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

inline int attribute(cudaDeviceAttr which, int gpu) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, gpu), "asking for an attribute");
  return value;
}

// Done when it returns: a memset is asynchronous, and another GPU's copies do not wait for it.
inline void set_bytes(void* memory, int value, std::size_t bytes) {
  check(cudaMemset(memory, value, bytes), "clearing memory");
  check(cudaStreamSynchronize(nullptr), "clearing memory");
}

// Flips a bit of what lies at `address` (in bytes) of GPU memory; bits count from the lowest.
inline void flip_bit(void* memory, std::uint64_t address, int bit) {
  unsigned char* byte = static_cast<unsigned char*>(memory) + address + bit / 8;
  unsigned char value = 0;
  check(cudaMemcpy(&value, byte, 1, cudaMemcpyDeviceToHost), "injecting");
  value = static_cast<unsigned char>(value ^ (1u << (bit % 8)));
  check(cudaMemcpy(byte, &value, 1, cudaMemcpyHostToDevice), "injecting");
  check(cudaStreamSynchronize(nullptr), "injecting");  // what came from pageable memory may be late
}

namespace detail {

inline Gpu described(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "asking what GPU it is");
  char address[32] = "";
  check(cudaDeviceGetPCIBusId(address, sizeof address, index), "asking for the PCI address");
  Gpu gpu;
  gpu.index = index;
  gpu.name = properties.name;
  gpu.compute = std::to_string(properties.major) + "." + std::to_string(properties.minor);
  gpu.device = address;
  for (char& c : gpu.device)
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  gpu.device = gpu.device.substr(0, gpu.device.find('.'));
  gpu.uuid = gpu.name.find(" MIG ") == std::string::npos ? "GPU" : "MIG";
  for (int i = 0; i < 16; ++i) {
    char text[4];
    std::snprintf(text, sizeof text, "%02x",
                  static_cast<unsigned char>(properties.uuid.bytes[i]));
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) gpu.uuid += '-';
    gpu.uuid += text;
  }
  return gpu;
}

}  // namespace detail

// Indices as NVML counts them. Before the first call of CUDA, and before there are threads.
inline void count_as_nvml() { setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1); }

// All GPUs that are visible. Throws Failed.
inline Machine look_at_machine() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for GPUs");
  if (count == 0) check(static_cast<cudaError_t>(100), "looking for GPUs");
  Machine machine;
  int version = 0;
  if (cudaDriverGetVersion(&version) == cudaSuccess) machine.driver = version_text(version);
  if (cudaRuntimeGetVersion(&version) == cudaSuccess) machine.runtime = version_text(version);
  for (int i = 0; i < count; ++i) machine.gpus.push_back(detail::described(i));
  return machine;
}

// Makes a GPU the current one of this thread.
inline void use(int gpu) {
  check(cudaSetDevice(gpu), "taking the GPU");
}

}  // namespace konduktor

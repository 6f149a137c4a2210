// A libcuda.so.1 that starts with an error: what do the real programs make of it? STUB_CUINIT is
// what cuInit returns (100: no GPU), STUB_VERSION the CUDA version of the driver.
#include <cstdlib>
#include <cstring>

namespace {

int setting(const char* name, int standard) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : standard;
}

int fails() { return setting("STUB_CUINIT", 100); }

}  // namespace

extern "C" {

int cuInit(unsigned) { return fails(); }
int cuDriverGetVersion(int* version) { return *version = setting("STUB_VERSION", 99000), 0; }

int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* status) {
  *function = reinterpret_cast<void*>(fails);
  if (!std::strcmp(name, "cuInit")) *function = reinterpret_cast<void*>(cuInit);
  if (!std::strcmp(name, "cuDriverGetVersion"))
    *function = reinterpret_cast<void*>(cuDriverGetVersion);
  if (!std::strcmp(name, "cuGetProcAddress"))
    *function = reinterpret_cast<void*>(cuGetProcAddress_v2);
  if (status) *status = 0;
  return 0;
}

}  // extern "C"

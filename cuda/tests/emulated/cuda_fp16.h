// Half precision, as far as our kernels use it: integers that it holds exactly. Anything else ends
// the test.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

struct __half {
  std::int16_t integer;
};

inline __half __int2half_rn(int value) {
  if (value > 2048 || value < -2048) {
    std::fprintf(stderr, "%d is not exact in half precision\n", value);
    std::abort();
  }
  return {static_cast<std::int16_t>(value)};
}

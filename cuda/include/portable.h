// How does code say that it runs on the GPU and on the CPU? So that g++ alone builds and tests it.
#pragma once

#if defined(__CUDACC__)
#define KONDUKTOR_BOTH __host__ __device__
#else
#define KONDUKTOR_BOTH
#endif

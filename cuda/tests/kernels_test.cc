// Do the kernels compute what they claim? On a CPU, thread by thread.
#include "cuda_runtime.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "axpy.cuh"
#include "check.h"
#include "copies.cuh"
#include "found.cuh"
#include "matrices.cuh"
#include "product.cuh"
#include "tensor_product.cuh"
#include "words.cuh"

using namespace konduktor;

namespace {

// Operands out of a hash, not those with a known product; the product by the definition.
template <class In, class Out>
bool multiplies(int size, void (*multiply)(const In*, const In*, Out*, int, cudaStream_t)) {
  const std::size_t n = static_cast<unsigned>(size), count = n * n;
  std::vector<double> a(count), b(count);
  Stream stream;
  DeviceMemory left(count * sizeof(In)), right(count * sizeof(In)), result(count * sizeof(Out));
  for (std::size_t i = 0; i < count; ++i) {
    const int x = static_cast<int>(mixed(1, i) % 41) - 20;
    const int y = static_cast<int>(mixed(2, i) % 41) - 20;
    a[i] = x;
    b[i] = y;
    left.as<In>()[i] = element<In>(x);
    right.as<In>()[i] = element<In>(y);
  }
  multiply(left.as<In>(), right.as<In>(), result.as<Out>(), size, stream);
  for (std::size_t row = 0; row < n; ++row)
    for (std::size_t column = 0; column < n; ++column) {
      double sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += a[row * n + k] * b[k * n + column];
      if (!(static_cast<double>(result.as<Out>()[row * n + column]) == sum)) return false;
    }
  return true;
}

// What check_product says of an exact product after `spoil` has had its way with it.
template <class Out, class Spoil>
Found judged(int size, Widths widths, Spoil spoil) {
  const std::size_t count = static_cast<std::size_t>(size) * static_cast<unsigned>(size);
  Stream stream;
  const Sums sums = sums_of(4, widths, size);
  DeviceMemory c(count * sizeof(Out)), ints(8 * static_cast<unsigned>(size) * sizeof(int)),
      longs(2 * static_cast<unsigned>(size) * sizeof(std::int64_t));
  int* at = ints.as<int>();
  std::int64_t* sums_at = longs.as<std::int64_t>();
  const Vectors vectors{at,            at + size,     at + 2 * size, at + 3 * size, at + 4 * size,
                        at + 5 * size, at + 6 * size, at + 7 * size, sums_at,       sums_at + size};
  launch(make_vectors, 2, kBlock, stream, vectors, std::uint64_t{4}, widths, sums, size);
  for (std::size_t i = 0; i < count; ++i)
    c.as<Out>()[i] = static_cast<Out>(element_c(4, widths, sums,
                                                static_cast<int>(i / static_cast<unsigned>(size)),
                                                static_cast<int>(i % static_cast<unsigned>(size))));
  spoil(c.as<Out>());
  FoundList found;
  launch(check_product<Out>, 3, kBlock, stream, c.as<const Out>(), vectors, size, found.on_gpu());
  return found.taken();
}

}  // namespace

TEST("products without tensor cores are right, for one tile and several") {
  CHECK(multiplies<float, float>(128, multiply<float>));
  CHECK(multiplies<double, double>(64, multiply<double>));
  CHECK(multiplies<double, double>(192, multiply<double>));
}

TEST("products by tensor cores are right, for one tile and several") {
  CHECK(multiplies<__half, float>(128, multiply_by_tensor_cores<HalfKind>));
  CHECK(multiplies<float, float>(128, multiply_by_tensor_cores<Tf32Kind>));
  CHECK(multiplies<double, double>(128, multiply_by_tensor_cores<DoubleKind>));
  CHECK(multiplies<__half, float>(256, multiply_by_tensor_cores<HalfKind>));
}

TEST("the operands that the GPU makes are those of the closed form") {
  constexpr int kSize = 40;
  Stream stream;
  DeviceMemory a(kSize * kSize * 8), b(kSize * kSize * 8);
  DeviceMemory ints(8 * kSize * 4), longs(2 * kSize * 8);
  int* at = ints.as<int>();
  std::int64_t* sums_at = longs.as<std::int64_t>();
  const Vectors vectors{at,      at + 40,  at + 80,  at + 120, at + 160,
                        at + 200, at + 240, at + 280, sums_at,  sums_at + 40};
  const Sums sums = sums_of(6, kDoubleWidths, kSize);
  launch(make_vectors, 1, kBlock, stream, vectors, std::uint64_t{6}, kDoubleWidths, sums, kSize);
  launch(make_operands<double>, 3, kBlock, stream, a.as<double>(), b.as<double>(), vectors, kSize);
  for (int i = 0; i < kSize; ++i)
    for (int j = 0; j < kSize; ++j) {
      CHECK(a.as<double>()[i * kSize + j] == element_a(6, kDoubleWidths, i, j));
      CHECK(b.as<double>()[i * kSize + j] == element_b(6, kDoubleWidths, i, j));
    }
}

TEST("an exact product has no wrong element") {
  CHECK(judged<double>(70, kDoubleWidths, [](double*) {}).total == 0);
  CHECK(judged<float>(70, kWideTimesNarrow, [](float*) {}).total == 0);
}

TEST("each bit of a double and of a float that is flipped is found") {
  for (int bit = 0; bit < 64; ++bit) {
    const Found found =
        judged<double>(24, kDoubleWidths, [bit](double* c) { flip_bit(c + 100, 0, bit); });
    CHECK(found.total == 1 && found.listed == 1 && found.list[0].index == 100);
    CHECK((found.list[0].expected ^ found.list[0].actual) == std::uint64_t{1} << bit);
  }
  for (int bit = 0; bit < 32; ++bit) {
    const Found found =
        judged<float>(24, kNarrowTimesWide, [bit](float* c) { flip_bit(c + 7, 0, bit); });
    CHECK(found.total == 1 && ~found.lowest == 7);
  }
}

TEST("an element that is no number is found") {
  CHECK(judged<double>(24, kDoubleWidths, [](double* c) { c[5] = NAN; }).total == 1);
  CHECK(judged<float>(24, kWideTimesNarrow, [](float* c) { c[5] = INFINITY; }).total == 1);
}

TEST("of many wrong elements all are counted, the first is known") {
  const Found found = judged<double>(64, kDoubleWidths, [](double* c) {
    for (int i = 1000; i < 4096; ++i) c[i] += 1;
  });
  CHECK(found.total == 3096 && ~found.lowest == 1000 && found.listed >= kMostErrors);
}

TEST("vectors are copied whole, whatever their number") {
  Stream stream;
  for (const std::size_t count : {1u, 255u, 256u, 2048u, 8191u, 20001u}) {
    DeviceMemory from(count * 16), to(count * 16 + 16);
    for (std::size_t i = 0; i < 2 * count; ++i) from.as<std::uint64_t>()[i] = mixed(3, i);
    std::memset(to.as<void>(), 0, to.bytes());
    launch(copy_vectors, 8, kBlock, stream, to.as<uint4>(), from.as<const uint4>(), count);
    CHECK(std::memcmp(to.as<void>(), from.as<void>(), count * 16) == 0);
    CHECK(to.as<std::uint64_t>()[2 * count] == 0);
  }
}

TEST("sums of vectors are exact, in place and not") {
  Stream stream;
  for (const std::size_t count : {2u, 510u, 16384u, 33334u}) {
    DeviceMemory x(count * 8), y(count * 8), sum(count * 8);
    FoundList found;
    launch(begin_axpy, 8, kBlock, stream, x.as<double>(), y.as<double>(), count, std::uint64_t{5});
    launch(scaled_sum, 8, kBlock, stream, sum.as<double2>(), y.as<const double2>(),
           x.as<const double2>(), double{kAlpha}, count / 2);
    launch(check_axpy, 8, kBlock, stream, sum.as<const double>(), count, std::uint64_t{5},
           std::uint64_t{1}, found.on_gpu());
    CHECK(found.taken().total == 0);
    for (std::uint64_t iteration = 1; iteration < 4; ++iteration) {
      launch(scaled_sum, 8, kBlock, stream, y.as<double2>(), y.as<const double2>(),
             x.as<const double2>(), double{kAlpha}, count / 2);
      launch(check_axpy, 8, kBlock, stream, y.as<const double>(), count, std::uint64_t{5},
             iteration, found.on_gpu());
      CHECK(found.taken().total == 0);
    }
    y.as<double>()[count - 1] += 1;
    launch(check_axpy, 8, kBlock, stream, y.as<const double>(), count, std::uint64_t{5},
           std::uint64_t{3}, found.on_gpu());
    CHECK(found.taken().total == 1);
  }
}

TEST("words are written and checked to the last one") {
  Stream stream;
  DeviceMemory memory(1001 * 8);
  FoundList found;
  for (const Pattern pattern : kPatterns) {
    launch(write_words, 2, kBlock, stream, memory.as<std::uint64_t>(), 1000u, pattern, 1,
           std::uint64_t{1});
    launch(check_words, 2, kBlock, stream, memory.as<const std::uint64_t>(), 1000u, pattern, 1,
           std::uint64_t{1}, found.on_gpu());
    CHECK(found.taken().total == 0);
    memory.as<std::uint64_t>()[999] ^= 1;
    launch(check_words, 2, kBlock, stream, memory.as<const std::uint64_t>(), 1000u, pattern, 1,
           std::uint64_t{1}, found.on_gpu());
    CHECK(~found.taken().lowest == 999);
  }
}

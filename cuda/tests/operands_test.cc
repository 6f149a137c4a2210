// Is the product of the operands what it is said to be, and exact?
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "check.h"
#include "operands.h"

using namespace konduktor;

namespace {

const Widths kAll[] = {kDoubleWidths, kWideTimesNarrow, kNarrowTimesWide};

}  // namespace

TEST("the closed form is the product, element by element") {
  constexpr int kSize = 96;
  for (const Widths widths : kAll)
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const Sums sums = sums_of(seed, widths, kSize);
      for (int i = 0; i < kSize; i += 5)
        for (int j = 0; j < kSize; j += 3) {
          std::int64_t sum = 0;
          for (int k = 0; k < kSize; ++k)
            sum += std::int64_t{element_a(seed, widths, i, k)} * element_b(seed, widths, k, j);
          CHECK(sum == element_c(seed, widths, sums, i, j));
        }
    }
}

TEST("elements and sums stay within their bounds, so that nothing is rounded") {
  constexpr int kSize = 512;
  for (const Widths widths : kAll) {
    std::int64_t largest_left = 0, largest_right = 0, largest_total = 0;
    for (int i = 0; i < kSize; ++i) {
      std::int64_t total = 0;
      for (int k = 0; k < kSize; ++k) {
        const std::int64_t a = std::abs(element_a(3, widths, i, k));
        const std::int64_t b = std::abs(element_b(3, widths, k, i));
        largest_left = std::max(largest_left, a);
        largest_right = std::max(largest_right, b);
        total += a * b;
      }
      largest_total = std::max(largest_total, total);
    }
    CHECK(largest_left <= largest_a(widths) && largest_left > largest_a(widths) / 2);
    CHECK(largest_right <= largest_b(widths) && largest_right > largest_b(widths) / 2);
    CHECK(largest_total <= largest_sum(widths, kSize));
  }
}

TEST("float sums of the worst case are exact in any order") {
  // All products of one sign and the largest size: adding one by one in float loses nothing.
  float sum = 0;
  const auto product =
      static_cast<float>(largest_a(kWideTimesNarrow) * largest_b(kWideTimesNarrow));
  for (int k = 0; k < kLargestSize; ++k) sum += product;
  CHECK(static_cast<std::int64_t>(sum) == largest_sum(kWideTimesNarrow, kLargestSize));
  CHECK(std::nextafter(sum, 1e9f) - sum <= 1);
}

TEST("operands differ from one iteration to the next, and use all their bits") {
  int same = 0;
  std::uint64_t ones = 0;
  for (int i = 0; i < 1000; ++i) {
    same += element_a(1, kDoubleWidths, i, i + 7) == element_a(2, kDoubleWidths, i, i + 7);
    ones |= static_cast<std::uint64_t>(std::abs(element_a(1, kDoubleWidths, i, i + 7)));
  }
  CHECK(same < 10);
  CHECK((ones & 0x3ffff) == 0x3ffff);
}

TEST("an operand has hardly a zero that would hide an error of the other") {
  // Hardly an element is 0, so an error of the other operand cannot hide.
  constexpr int kSize = 256;
  for (const Widths widths : kAll) {
    int zeros = 0;
    for (int k = 0; k < kSize; ++k)
      for (int j = 0; j < kSize; ++j)
        zeros += (element_a(9, widths, k, j) == 0) + (element_b(9, widths, k, j) == 0);
    CHECK(zeros < 2 * kSize * kSize / 50);
  }
}

TEST("daxpy stays exact for more iterations than a day has") {
  const std::uint64_t iterations = std::uint64_t{1} << 33;
  const std::int64_t last = axpy_y(5, 77, iterations);
  CHECK(last < std::int64_t{1} << 53);
  CHECK(static_cast<std::int64_t>(static_cast<double>(last)) == last);
  CHECK(axpy_y(5, 77, 2) - axpy_y(5, 77, 1) == kAlpha * axpy_x(5, 77));
}

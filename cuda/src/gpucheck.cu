// Does each GPU compute right, and how fast?
#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>

#include "axpy.cuh"
#include "cublas.h"
#include "found.cuh"
#include "matrices.cuh"
#include "product.cuh"
#include "runtime.cuh"
#include "tensor_product.cuh"

namespace konduktor {
namespace {

const std::vector<std::string> kTests = {"daxpy", "dgemm", "sgemm", "tf32", "fp16"};
constexpr std::uint64_t kInjectedIteration = 2;

struct Settings {
  std::vector<std::string> tests;
  double seconds;
  int size;  // 0: to be found
  std::string cublas;
  Injection inject;
};

Settings settings_of(const Arguments& arguments) {
  Settings settings;
  settings.tests = arguments.chosen("--tests", kTests);
  settings.seconds = static_cast<double>(arguments.whole("--seconds", 1, 86400));
  settings.size = static_cast<int>(arguments.whole("--size", 0, kLargestSize));
  if (settings.size % 128)
    throw UsageError("--size: " + std::to_string(settings.size) + " is no multiple of 128", "");
  settings.cublas = arguments.text("--cublas");
  if (settings.cublas != "auto" && settings.cublas != "yes" && settings.cublas != "no")
    throw UsageError("--cublas: " + settings.cublas + " is none of auto, yes, no", "");
  settings.inject = injection(arguments.text("--inject"), true, settings.tests);
  return settings;
}

std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for the memory");
  return free;
}

// What the tests of one GPU share.
struct Bench {
  const Gpu& gpu;
  const Settings& settings;
  Sink& sink;
  int blocks;
  double seconds = 0;  // of each test
  Stream stream;
  Event start, stop;
  FoundList found;

  // The time that a piece of work takes on the GPU, in seconds.
  template <class Piece>
  double time_of(Piece&& piece) {
    start.record(stream);
    piece();
    stop.record(stream);
    stop.wait("computing");
    return std::max(stop.since(start), 1e-9);
  }

  bool injects(const std::string& test, std::uint64_t iteration) const {
    return settings.inject.asked && settings.inject.name == test && iteration == kInjectedIteration;
  }

  void inject(void* data, std::uint64_t elements, int bytes) const {
    if (settings.inject.place >= elements || settings.inject.bit >= 8 * bytes)
      throw Failed({"usage", "--inject: there are " + std::to_string(elements) + " elements of " +
                                 std::to_string(8 * bytes) + " bits", ""});
    flip_bit(data, settings.inject.place * static_cast<unsigned>(bytes), settings.inject.bit);
  }
};

// Wrong elements of type T in `data`, the first of all among them, told to the sink. `row` 0: it is
// no matrix. A second reading says whether the element is still wrong.
template <class T>
void tell(Bench& bench, const Found& found, const std::string& test, std::uint64_t iteration,
          const T* data, std::uint64_t row, const std::function<T(std::uint64_t)>& expected) {
  std::vector<std::uint64_t> indices = {~found.lowest};
  for (unsigned i = 0; i < found.listed && i < kMostErrors; ++i)
    indices.push_back(found.list[i].index);
  std::vector<WrongWord> words = listed(found, test, sizeof(T));
  const bool has_first = std::count(indices.begin() + 1, indices.end(), indices[0]) > 0;
  if (!has_first) {
    WrongWord first;
    first.kind = "mismatch";
    first.test = test;
    first.address = indices[0] * sizeof(T);
    first.bits = 8 * sizeof(T);
    words.insert(words.begin(), first);
  } else {
    indices.erase(indices.begin());
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    T now{};
    check(cudaMemcpy(&now, data + indices[i], sizeof now, cudaMemcpyDeviceToHost), "reading again");
    const T right = expected(indices[i]);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &right, sizeof right);
    words[i].expected = bits;
    if (i == 0 && !has_first) std::memcpy(&words[i].actual, &now, sizeof now);
    words[i].where.push_back({"iteration", static_cast<std::int64_t>(iteration)});
    if (row) {
      words[i].where.push_back({"row", static_cast<std::int64_t>(indices[i] / row)});
      words[i].where.push_back({"column", static_cast<std::int64_t>(indices[i] % row)});
    }
    words[i].where.push_back({"again", now == right ? 0 : 1});
  }
  bench.sink.wrong(bench.gpu.index, found.total, words);
}

void test_axpy(Bench& bench) {
  constexpr std::uint64_t kSeed = 7;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 26;  // well beyond any L2 cache
  const std::uint64_t count = std::min<std::uint64_t>(kMost, free_memory() / 64) / 2 * 2;
  DeviceMemory x(count * 8), y(count * 8);
  const auto restart = [&] {
    launch(begin_axpy, bench.blocks, kBlock, bench.stream, x.as<double>(), y.as<double>(), count,
           kSeed);
  };
  restart();
  Result result{"daxpy", {}, "GB/s", "own"};
  std::uint64_t since_restart = 0;
  for (const auto begin = Clock::now();
       result.count < 2 || seconds_since(begin) < bench.seconds;) {
    ++result.count;
    ++since_restart;
    const double seconds = bench.time_of([&] {
      launch(scaled_sum, bench.blocks, kBlock, bench.stream, y.as<double2>(),
             y.as<const double2>(), x.as<const double2>(), double{kAlpha}, count / 2);
    });
    if (bench.injects("daxpy", result.count)) bench.inject(y.as<void>(), count, 8);
    launch(check_axpy, bench.blocks, kBlock, bench.stream, y.as<const double>(), count, kSeed,
           since_restart, bench.found.on_gpu());
    bench.stream.wait("checking daxpy");
    const Found found = bench.found.taken();
    if (found.total) {
      tell<double>(bench, found, "daxpy", result.count, y.as<double>(), 0, [&](std::uint64_t i) {
        return static_cast<double>(axpy_y(kSeed, i, since_restart));
      });
      restart();  // or each iteration after would find it again
      since_restart = 0;
    }
    result.samples.push_back(24.0 * static_cast<double>(count) / seconds / 1e9);
  }
  bench.sink.result(bench.gpu.index, result);
}

template <class In, class Out>
using Multiply = std::function<void(const In*, const In*, Out*, int, cudaStream_t)>;

// Operands, vectors and result of one size.
template <class In, class Out>
class Matrices {
 public:
  Matrices(Bench& bench, int size)
      : bench_(bench), size_(size),
        elements_(static_cast<std::uint64_t>(size) * static_cast<unsigned>(size)),
        a_(elements_ * sizeof(In)), b_(elements_ * sizeof(In)), c_(elements_ * sizeof(Out)),
        ints_(8 * static_cast<std::size_t>(size) * sizeof(int)),
        longs_(2 * static_cast<std::size_t>(size) * sizeof(std::int64_t)) {
    int* at = ints_.as<int>();
    for (int** each : {&vectors_.p, &vectors_.q, &vectors_.f, &vectors_.g, &vectors_.u, &vectors_.v,
                       &vectors_.r, &vectors_.t}) {
      *each = at;
      at += size;
    }
    vectors_.with_p = longs_.as<std::int64_t>();
    vectors_.with_q = vectors_.with_p + size;
  }

  static std::uint64_t bytes(int size) {
    return static_cast<std::uint64_t>(size) * static_cast<unsigned>(size) *
           (2 * sizeof(In) + sizeof(Out));
  }

  void prepare(std::uint64_t iteration) {
    seed_ = iteration;
    widths_ = sizeof(Out) == 8 ? kDoubleWidths : float_widths(iteration);
    sums_ = sums_of(seed_, widths_, size_);
    launch(make_vectors, bench_.blocks, kBlock, bench_.stream, vectors_, seed_, widths_, sums_,
           size_);
    launch(make_operands<In>, bench_.blocks, kBlock, bench_.stream, a_.as<In>(), b_.as<In>(),
           vectors_, size_);
    // What an iteration leaves out must not be the right result of the one before.
    check(cudaMemsetAsync(c_.as<void>(), 0xff, c_.bytes(), bench_.stream), "clearing the result");
  }

  double compute(const Multiply<In, Out>& multiply) {
    return bench_.time_of([&] {
      multiply(a_.as<const In>(), b_.as<const In>(), c_.as<Out>(), size_, bench_.stream);
    });
  }

  void inject() { bench_.inject(c_.as<void>(), elements_, sizeof(Out)); }

  void verify(const std::string& test, std::uint64_t iteration) {
    launch(check_product<Out>, bench_.blocks, kBlock, bench_.stream, c_.as<const Out>(), vectors_,
           size_, bench_.found.on_gpu());
    bench_.stream.wait("checking a product");
    const Found found = bench_.found.taken();
    if (!found.total) return;
    const std::uint64_t row = static_cast<unsigned>(size_);
    tell<Out>(bench_, found, test, iteration, c_.as<Out>(), row, [&](std::uint64_t i) {
      return static_cast<Out>(element_c(seed_, widths_, sums_, static_cast<int>(i / row),
                                        static_cast<int>(i % row)));
    });
  }

 private:
  Bench& bench_;
  int size_;
  std::uint64_t elements_;
  DeviceMemory a_, b_, c_, ints_, longs_;
  Vectors vectors_{};
  std::uint64_t seed_ = 0;
  Widths widths_{};
  Sums sums_{};
};

// The largest size that gives at least 8 iterations in the test's time.
template <class In, class Out>
int size_for(Bench& bench, const Multiply<In, Out>& multiply) {
  constexpr int kSmallest = 1024;
  if (bench.settings.size) return bench.settings.size;
  Matrices<In, Out> matrices(bench, kSmallest);
  matrices.prepare(0);
  matrices.compute(multiply);  // the first waits for the kernel to be loaded
  const double seconds = matrices.compute(multiply);
  for (int size = 8192; size > kSmallest; size /= 2) {
    const double factor = static_cast<double>(size) / kSmallest;
    if (factor * factor * factor * seconds <= bench.seconds / 8 &&
        Matrices<In, Out>::bytes(size) < free_memory() / 10 * 8)
      return size;
  }
  return kSmallest;
}

template <class In, class Out>
void test_product(Bench& bench, const std::string& name, const std::string& kernel,
                  const Multiply<In, Out>& multiply) {
  const int size = size_for<In, Out>(bench, multiply);
  Matrices<In, Out> matrices(bench, size);
  matrices.prepare(0);
  matrices.compute(multiply);
  matrices.verify(name, 0);
  const double operations = 2.0 * size * size * size;
  Result result{name, {}, "GFLOPS", kernel};
  for (const auto begin = Clock::now();
       result.count < 2 || seconds_since(begin) < bench.seconds;) {
    ++result.count;
    matrices.prepare(result.count);
    result.samples.push_back(operations / matrices.compute(multiply) / 1e9);
    if (bench.injects(name, result.count)) matrices.inject();
    matrices.verify(name, result.count);
  }
  bench.sink.result(bench.gpu.index, result);
}

// Which way a test takes on this GPU; null: none.
std::function<void(Bench&)> way(const std::string& test, int major, Cublas* cublas) {
  const std::string kernel = cublas ? "cublas" : "own";
  if (test == "daxpy") return test_axpy;
  if (test == "dgemm")
    return [=](Bench& bench) {
      test_product<double, double>(
          bench, test, kernel,
          [=](const double* a, const double* b, double* c, int size, cudaStream_t stream) {
            if (cublas)
              cublas->dgemm(a, b, c, size);
            else if (major >= DoubleKind::kComputeMajor)
              multiply_by_tensor_cores<DoubleKind>(a, b, c, size, stream);
            else
              multiply(a, b, c, size, stream);
          });
    };
  if (test == "sgemm")
    return [=](Bench& bench) {
      test_product<float, float>(
          bench, test, kernel,
          [=](const float* a, const float* b, float* c, int size, cudaStream_t stream) {
            if (cublas)
              cublas->sgemm(a, b, c, size);
            else
              multiply(a, b, c, size, stream);
          });
    };
  if (test == "tf32" && major >= Tf32Kind::kComputeMajor)
    return [=](Bench& bench) {
      test_product<float, float>(
          bench, test, kernel,
          [=](const float* a, const float* b, float* c, int size, cudaStream_t stream) {
            if (cublas)
              cublas->tf32(a, b, c, size);
            else
              multiply_by_tensor_cores<Tf32Kind>(a, b, c, size, stream);
          });
    };
  if (test == "fp16" && major >= HalfKind::kComputeMajor)
    return [=](Bench& bench) {
      test_product<__half, float>(
          bench, test, kernel,
          [=](const __half* a, const __half* b, float* c, int size, cudaStream_t stream) {
            if (cublas)
              cublas->fp16(a, b, c, size);
            else
              multiply_by_tensor_cores<HalfKind>(a, b, c, size, stream);
          });
    };
  return nullptr;
}

std::unique_ptr<Cublas> cublas_of(const Settings& settings) {
  if (settings.cublas == "no") return nullptr;
  try {
    return std::make_unique<Cublas>();
  } catch (const Failed&) {
    if (settings.cublas == "yes") throw;
    return nullptr;
  }
}

void test(const Gpu& gpu, const Settings& settings, Sink& sink) {
  sink.at(gpu.index, "taking the GPU");
  use(gpu.index);
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, gpu.index);
  Bench bench{gpu, settings, sink, blocks_on(gpu.index), 0, {}, {}, {}, {}};
  const std::unique_ptr<Cublas> cublas = cublas_of(settings);
  if (cublas) cublas->use(static_cast<cudaStream_t>(bench.stream));
  std::vector<std::pair<std::string, std::function<void(Bench&)>>> ways;
  for (const std::string& name : settings.tests) {
    if (auto found = way(name, major, cublas.get()))
      ways.push_back({name, found});
    else
      sink.skipped(gpu.index, {name, "", "not on compute capability " + gpu.compute});
  }
  for (const auto& [name, measure] : ways) {
    sink.at(gpu.index, name);
    bench.seconds = settings.seconds / static_cast<double>(ways.size());
    measure(bench);
  }
  sink.done(gpu.index);
}

}  // namespace
}  // namespace konduktor

int main(int argc, char** argv) {
  using namespace konduktor;
  const Program program{
      "gpucheck",
      "Does each GPU compute right, and how fast?",
      "30",
      {{"--tests", "all", "of daxpy, dgemm, sgemm, tf32, fp16"},
       {"--size", "0", "matrices of N x N, a multiple of 128; 0: to be found"},
       {"--cublas", "auto", "matrix products by cuBLAS: auto, yes, no"}},
      true,
      look_at_machine,
      [](const Arguments& arguments) -> Measure {
        const Settings settings = settings_of(arguments);
        return [settings](const std::vector<Gpu>& gpus, Sink& sink) {
          for (const Gpu& gpu : gpus) test(gpu, settings, sink);
        };
      }};
  count_as_nvml();
  return run(program, argc, argv);
}

// Does the memory of each GPU keep what is written to it?
#include <algorithm>

#include "found.cuh"
#include "march.h"
#include "runtime.cuh"
#include "words.cuh"

namespace konduktor {
namespace {

constexpr std::uint64_t kPage = 4096;

struct Settings {
  std::vector<Pattern> patterns;
  double seconds;
  std::uint64_t share, bytes, rounds, seed;
  Injection inject;
};

Settings settings_of(const Arguments& arguments) {
  std::vector<std::string> names;
  for (const Pattern pattern : kPatterns) names.push_back(name_of(pattern));
  Settings settings;
  for (const std::string& name : arguments.chosen("--tests", names))
    for (const Pattern pattern : kPatterns)
      if (name == name_of(pattern)) settings.patterns.push_back(pattern);
  settings.seconds = static_cast<double>(arguments.whole("--seconds", 1, 86400));
  settings.share = arguments.whole("--share", 1, 99);
  settings.bytes = arguments.whole("--bytes", 0, std::uint64_t{1} << 50);
  if (settings.bytes % kPage)
    throw UsageError("--bytes: " + std::to_string(settings.bytes) + " is no multiple of 4096", "");
  settings.rounds = arguments.whole("--rounds", 1, 1000);
  settings.seed = arguments.whole("--seed", 0, UINT32_MAX);
  settings.inject = injection(arguments.text("--inject"), false, {});
  return settings;
}

// Upwards from the word to its inverse, or downwards from the inverse to the word.
__global__ void check_and_invert_words(std::uint64_t* words, unsigned long long count,
                                       Pattern pattern, int step, std::uint64_t seed,
                                       bool from_inverse, Found* found) {
  Finder finder(found);
  for (unsigned long long i = first_index(); i < count; i += all_threads()) {
    const unsigned long long at = from_inverse ? count - 1 - i : i;
    const std::uint64_t plain = word(pattern, step, seed, at);
    const std::uint64_t expected = from_inverse ? ~plain : plain;
    const std::uint64_t actual = words[at];
    if (actual != expected) finder.wrong(at, expected, actual);
    words[at] = ~expected;
  }
  finder.end();
}

// The largest piece that can be had: free memory may be in parts.
DeviceMemory memory_of(const Settings& settings, int gpu) {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for the memory");
  const std::uint64_t least = 2 * static_cast<unsigned>(attribute(cudaDevAttrL2CacheSize, gpu));
  std::uint64_t wanted = settings.bytes ? settings.bytes : free / 100 * settings.share;
  wanted -= wanted % kPage;
  if (wanted < least)
    throw Failed({"out-of-memory",
                  "to test " + std::to_string(wanted) + " bytes is to test the L2 cache: at least "
                      + std::to_string(least) + " are needed, " + std::to_string(free) +
                      " are free",
                  "a larger --bytes or --share, or end what uses the GPU"});
  if (settings.bytes) return DeviceMemory(wanted);
  for (int attempt = 0;; ++attempt) {
    try {
      return DeviceMemory(wanted);
    } catch (const Failed& failed) {
      const std::uint64_t smaller = wanted / 100 * 95 / kPage * kPage;
      if (failed.failure.code != "out-of-memory" || attempt == 10 || smaller < least) throw;
      cudaGetLastError();  // the next call shall not report this one's
      wanted = smaller;
    }
  }
}

// The GPU's memory, as `march` walks over it.
class Memory {
 public:
  Memory(const Gpu& gpu, const Settings& settings, Sink& sink, Clock::time_point begin)
      : gpu_(gpu), settings_(settings), sink_(sink), begin_(begin),
        memory_(memory_of(settings, gpu.index)), words_(memory_.bytes() / 8),
        blocks_(blocks_on(gpu.index)) {
    if (settings.inject.asked && settings.inject.place >= memory_.bytes())
      throw Failed({"usage", "--inject: the address is beyond the " +
                                 std::to_string(memory_.bytes()) + " bytes that are tested", ""});
  }

  std::uint64_t bytes() const { return memory_.bytes(); }
  void go_to(std::uint64_t round) { round_ = round; }

  // Between steps is where a walk may end: a step of all memory takes well under a second.
  bool write(Pattern pattern, int step) {
    if (seconds_since(begin_) >= settings_.seconds) return false;
    launch(write_words, blocks_, kBlock, stream_, memory_.as<std::uint64_t>(), words_, pattern,
           step, seed());
    stream_.wait("writing a pattern");
    if (settings_.inject.asked)
      flip_bit(memory_.as<void>(), settings_.inject.place / 8 * 8, settings_.inject.bit);
    return true;
  }

  bool check(Pattern pattern, int step) {
    launch(check_words, blocks_, kBlock, stream_, memory_.as<std::uint64_t>(), words_, pattern,
           step, seed(), found_.on_gpu());
    return concluded(pattern, step);
  }

  bool check_and_invert(Pattern pattern, int step, bool from_inverse) {
    launch(check_and_invert_words, blocks_, kBlock, stream_, memory_.as<std::uint64_t>(), words_,
           pattern, step, seed(), from_inverse, found_.on_gpu());
    return concluded(pattern, step);
  }

 private:
  std::uint64_t seed() const { return settings_.seed + round_ * 1000; }

  bool concluded(Pattern pattern, int step) {
    stream_.wait("checking a pattern");
    const Found found = found_.taken();
    if (found.total) {
      std::vector<WrongWord> words = listed(found, name_of(pattern));
      for (WrongWord& wrong : words) wrong.where = {{"step", step}};
      sink_.wrong(gpu_.index, found.total, words);
    }
    return true;
  }

  const Gpu& gpu_;
  const Settings& settings_;
  Sink& sink_;
  Clock::time_point begin_;
  DeviceMemory memory_;
  unsigned long long words_;
  int blocks_;
  Stream stream_;
  FoundList found_;
  std::uint64_t round_ = 0;
};

void test(const Gpu& gpu, const Settings& settings, Sink& sink) {
  const auto begin = Clock::now();
  sink.at(gpu.index, "taking the GPU");
  use(gpu.index);
  Memory memory(gpu, settings, sink, begin);
  std::vector<Result> results;
  for (const Pattern pattern : settings.patterns) {
    results.push_back({name_of(pattern), {}, "GB/s"});
  }
  bool in_time = true;
  for (std::uint64_t round = 0; round < settings.rounds && in_time; ++round) {
    memory.go_to(round);
    for (std::size_t i = 0; i < settings.patterns.size() && in_time; ++i) {
      const Pattern pattern = settings.patterns[i];
      sink.at(gpu.index, std::string(name_of(pattern)) + ", round " + std::to_string(round + 1));
      const auto start = Clock::now();
      in_time = march(memory, pattern);
      if (!in_time) break;
      const double traffic = static_cast<double>(memory.bytes()) * passes_of(pattern);
      results[i].samples.push_back(traffic / std::max(seconds_since(start), 1e-9) / 1e9);
      ++results[i].count;
    }
  }
  std::string missing;
  for (const Result& result : results) {
    if (result.count) sink.result(gpu.index, result);
    if (!result.count) missing += (missing.empty() ? "" : ", ") + result.name;
  }
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for the memory");
  sink.result(gpu.index, {"memory_tested", {static_cast<double>(memory.bytes())}, "bytes"});
  sink.result(gpu.index, {"memory_total", {static_cast<double>(total)}, "bytes"});
  if (!missing.empty())
    sink.failure(gpu.index, {"deadline", "the time was over before the first round: not tested: " +
                                             missing, "a longer --seconds, or a smaller --share"});
  sink.done(gpu.index);
}

}  // namespace
}  // namespace konduktor

int main(int argc, char** argv) {
  using namespace konduktor;
  const Program program{
      "memtest",
      "Does the memory of each GPU keep what is written to it?",
      "300",
      {{"--tests", "all", "of address, walking, inversions, random"},
       {"--share", "90", "percent of the free memory, 1 to 99"},
       {"--bytes", "0", "so many bytes instead, a multiple of 4096"},
       {"--rounds", "1", "rounds over all patterns, 1 to 1000"},
       {"--seed", "1", "of the pattern random"}},
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

// What do the links and the memory of each GPU carry?
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "gpu_bandwidth.cuh"
#include "runtime.cuh"
#include "together.h"

namespace konduktor {
namespace {

const std::vector<std::string> kTests = {"h2d", "d2h", "both", "sm", "parallel", "p2p", "hbm"};
const std::vector<std::string> kResults = {
    "h2d",       "d2h",      "h2d_both",       "d2h_both",     "h2d_sm", "d2h_sm",   "h2d_parallel",
    "d2h_parallel", "p2p_write", "p2p_read", "p2p_write_both", "p2p_write_sm", "d2d", "hbm_copy",
    "hbm_triad"};
BandwidthSettings settings_of(const Arguments& arguments) {
  BandwidthSettings settings;
  settings.tests = arguments.chosen("--tests", kTests);
  settings.seconds = static_cast<double>(arguments.whole("--seconds", 1, 86400));
  settings.bytes = arguments.whole("--bytes", 1 << 20, std::uint64_t{1} << 34) / 4096 * 4096;
  settings.samples = static_cast<int>(arguments.whole("--samples", 1, 64));
  settings.inject = injection(arguments.text("--inject"), true, kResults);
  return settings;
}

// All GPUs: each step in a thread of its own beside its GPU; a GPU that fails takes no further
// part.
class Tour {
 public:
  Tour(const std::vector<Gpu>& gpus, const BandwidthSettings& settings, Sink& sink)
      : gpus_(gpus), settings_(settings), sink_(sink), begin_(Clock::now()) {}

  void run() {
    std::set<std::string> tests(settings_.tests.begin(), settings_.tests.end());
    if (tests.count("h2d") + tests.count("d2h") + tests.count("both") + tests.count("sm"))
      for (const Gpu& gpu : gpus_)
        step(gpu, [&](GpuBandwidth& its) { its.to_and_from_host(tests); });
    if (tests.count("hbm"))
      for (const Gpu& gpu : gpus_) step(gpu, [](GpuBandwidth& its) { its.own_memory(); });
    if (tests.count("parallel")) parallel();
    if (tests.count("p2p"))
      for (const Gpu& gpu : gpus_) peers_of(gpu);
    for (const Gpu& gpu : gpus_)
      if (!out_.count(gpu.index)) sink_.done(gpu.index);
  }

 private:
  void step(const Gpu& gpu, const std::function<void(GpuBandwidth&)>& measure) {
    if (!out_.count(gpu.index)) std::thread([&] { attempt(gpu, measure); }).join();
  }

  void parallel() {
    std::vector<Gpu> members;
    for (const Gpu& gpu : gpus_)
      if (!out_.count(gpu.index)) members.push_back(gpu);
    if (members.size() < 2) {
      for (const Gpu& gpu : members) sink_.skipped(gpu.index, {"parallel", "", "only one GPU"});
      return;
    }
    Together together(static_cast<int>(members.size()));
    std::vector<std::thread> threads;
    for (const Gpu& gpu : members)
      threads.emplace_back([&, gpu] {
        bool in_round = false;
        attempt(gpu, [&](GpuBandwidth& its) { its.in_parallel(together, in_round); });
        together.leave(in_round);
      });
    for (std::thread& thread : threads) thread.join();
  }

  void peers_of(const Gpu& gpu) {
    if (gpus_.size() < 2 && !out_.count(gpu.index))
      sink_.skipped(gpu.index, {"p2p", "", "only one GPU"});
    for (const Gpu& peer : gpus_)
      if (peer.index != gpu.index && !out_.count(peer.index))
        step(gpu, [&](GpuBandwidth& its) { its.to_peer(peer); });
  }

  void attempt(const Gpu& gpu, const std::function<void(GpuBandwidth&)>& measure) {
    try {
      if (!spoiled_.empty())
        throw Failed({"cuda", "not measured: CUDA failed on " + spoiled_ + " before", ""});
      if (seconds_since(begin_) >= settings_.seconds)
        throw Failed(
            {"deadline", "the time was over before all was measured", "a longer --seconds"});
      sink_.at(gpu.index, "taking the GPU");
      GpuBandwidth its(gpu, settings_, sink_);
      measure(its);
    } catch (const Failed& failed) {
      drop(gpu, failed.failure);
    } catch (const HardwareFailed& failed) {
      WrongWord word;
      word.kind = "device";
      word.message = failed.message;
      sink_.wrong(gpu.index, 1, {word});
      drop(gpu, {"cuda", failed.message, ""}, true);
    } catch (const std::exception& error) {
      drop(gpu, {"cuda", error.what(), ""});
    }
  }

  void drop(const Gpu& gpu, const Failure& failure, bool spoils = false) {
    const std::lock_guard<std::mutex> lock(mutex_);
    sink_.failure(gpu.index, failure);
    out_.insert(gpu.index);
    if (spoils) spoiled_ = gpu.device;
  }

  const std::vector<Gpu>& gpus_;
  const BandwidthSettings& settings_;
  Sink& sink_;
  Clock::time_point begin_;
  std::mutex mutex_;
  std::set<int> out_;    // read while no other thread runs, but for its own member
  std::string spoiled_;  // the GPU with which CUDA as a whole became unusable
};

}  // namespace
}  // namespace konduktor

int main(int argc, char** argv) {
  using namespace konduktor;
  const Program program{
      "bandwidth",
      "What do the links and the memory of each GPU carry?",
      "300",
      {{"--tests", "all", "of h2d, d2h, both, sm, parallel, p2p, hbm"},
       {"--bytes", "268435456", "size of a copy"},
       {"--samples", "5", "of each result, 1 to 64"}},
      false,
      look_at_machine,
      [](const Arguments& arguments) -> Measure {
        const BandwidthSettings settings = settings_of(arguments);
        return [settings](const std::vector<Gpu>& gpus, Sink& sink) {
          Tour(gpus, settings, sink).run();
        };
      }};
  count_as_nvml();
  return run(program, argc, argv);
}

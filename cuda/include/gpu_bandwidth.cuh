// What do the links and the memory of one GPU carry? Each result with its check of what arrived.
#pragma once

#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "axpy.cuh"
#include "copies.cuh"
#include "found.cuh"
#include "host_memory.cuh"
#include "routes.cuh"
#include "runtime.cuh"
#include "together.h"
#include "words.cuh"

namespace konduktor {

struct BandwidthSettings {
  std::vector<std::string> tests;
  double seconds;
  std::size_t bytes;
  int samples;
  Injection inject;
  std::string sysfs = "/sys";
};

// Each result has words of its own, so that what another one left behind is not taken for its copy.
inline std::uint64_t seed_of(const std::string& result) {
  std::uint64_t seed = 0;
  for (const char c : result) seed = mixed(seed, static_cast<unsigned char>(c));
  return seed;
}

// One GPU's measuring. Its thread runs beside the GPU while this lives.
class GpuBandwidth {
 public:
  GpuBandwidth(const Gpu& gpu, const BandwidthSettings& settings, Sink& sink)
      : gpu_(gpu), settings_(settings), sink_(sink), beside_(settings.sysfs, gpu), lane_(gpu.index),
        blocks_(blocks_on(gpu.index)) {}

  void to_and_from_host(const std::set<std::string>& tests) {
    const std::size_t bytes = fitting(2);
    HostMemory sent(bytes, beside_.node()), received(bytes, beside_.node());
    sink_.numa(gpu_.index, json(beside_.binding(sent)));
    DeviceMemory here(bytes), there(bytes);
    Lane other(gpu_.index);
    const Route up{lane_, copy(here.as<void>(), sent.as<void>(), bytes, cudaMemcpyHostToDevice),
                   static_cast<double>(bytes)};
    const Route down{lane_,
                     copy(received.as<void>(), there.as<void>(), bytes, cudaMemcpyDeviceToHost),
                     static_cast<double>(bytes)};
    const Route other_up{other, up.copy, up.bytes}, other_down{other, down.copy, down.bytes};
    if (tests.count("h2d"))
      upwards("h2d", "ce", sent, here, [&] { return speeds(up, settings_.samples); });
    if (tests.count("d2h"))
      downwards("d2h", "ce", there, received, [&] { return speeds(down, settings_.samples); });
    if (tests.count("both")) {
      upwards("h2d_both", "ce", sent, here,
              [&] { return speeds_while(up, other_down, settings_.samples); });
      downwards("d2h_both", "ce", there, received,
                [&] { return speeds_while(down, other_up, settings_.samples); });
    }
    if (tests.count("sm")) {
      const Route by_kernel_up{lane_, kernel(here.as<uint4>(), sent.mapped<uint4>(), bytes),
                               up.bytes};
      const Route by_kernel_down{lane_, kernel(received.mapped<uint4>(), there.as<uint4>(), bytes),
                                 up.bytes};
      upwards("h2d_sm", "sm", sent, here,
              [&] { return speeds(by_kernel_up, settings_.samples); });
      downwards("d2h_sm", "sm", there, received,
                [&] { return speeds(by_kernel_down, settings_.samples); });
    }
  }

  // With the others, both directions one after the other.
  void in_parallel(Together& together, bool& in_round) {
    const std::size_t bytes = fitting(1);
    HostMemory host(bytes, beside_.node());
    sink_.numa(gpu_.index, json(beside_.binding(host)));
    DeviceMemory here(bytes);
    const Route up{lane_, copy(here.as<void>(), host.as<void>(), bytes, cudaMemcpyHostToDevice),
                   static_cast<double>(bytes)};
    const Route down{lane_, copy(host.as<void>(), here.as<void>(), bytes, cudaMemcpyDeviceToHost),
                     static_cast<double>(bytes)};
    upwards("h2d_parallel", "ce", host, here,
            [&] { return speeds_together(up, settings_.samples, together, in_round); });
    downwards("d2h_parallel", "ce", here, host,
              [&] { return speeds_together(down, settings_.samples, together, in_round); });
  }

  void to_peer(const Gpu& peer) {
    int there_can = 0, back_can = 0;
    check(cudaDeviceCanAccessPeer(&there_can, gpu_.index, peer.index), "asking about a peer");
    check(cudaDeviceCanAccessPeer(&back_can, peer.index, gpu_.index), "asking about a peer");
    if (!there_can || !back_can) {
      sink_.skipped(gpu_.index, {"p2p", peer.device, "no peer access"});
      return;
    }
    allow(gpu_, peer);
    allow(peer, gpu_);
    Lane far(peer.index);
    const std::size_t bytes = std::min(fitting(4), fitting_on(peer, 4));
    use(peer.index);
    DeviceMemory far_in(bytes), far_out(bytes);
    use(gpu_.index);
    DeviceMemory near_in(bytes), near_out(bytes);
    const Route write{lane_, peer_copy(far_in, peer, near_out, gpu_), static_cast<double>(bytes)};
    const Route read{lane_, peer_copy(near_in, gpu_, far_out, peer), static_cast<double>(bytes)};
    const Route back{far, peer_copy(near_in, gpu_, far_out, peer), static_cast<double>(bytes)};
    const Route by_kernel{lane_, kernel(far_in.as<uint4>(), near_out.as<uint4>(), bytes),
                          static_cast<double>(bytes)};
    between("p2p_write", "ce", peer, gpu_, near_out, peer, far_in,
            [&] { return speeds(write, settings_.samples); });
    between("p2p_read", "ce", peer, peer, far_out, gpu_, near_in,
            [&] { return speeds(read, settings_.samples); });
    between("p2p_write_both", "ce", peer, gpu_, near_out, peer, far_in,
            [&] { return speeds_while(write, back, settings_.samples); });
    between("p2p_write_sm", "sm", peer, gpu_, near_out, peer, far_in,
            [&] { return speeds(by_kernel, settings_.samples); });
    use(gpu_.index);
  }

  void own_memory() {
    const std::size_t bytes = fitting(3);
    DeviceMemory a(bytes), b(bytes), c(bytes);
    const double size = static_cast<double>(bytes);
    const Route engine{lane_, copy(a.as<void>(), b.as<void>(), bytes, cudaMemcpyDeviceToDevice),
                       2 * size};
    const Route by_kernel{lane_, kernel(a.as<uint4>(), b.as<uint4>(), bytes), 2 * size};
    between("d2d", "ce", gpu_, gpu_, b, gpu_, a, [&] { return speeds(engine, settings_.samples); },
            false);
    between("hbm_copy", "sm", gpu_, gpu_, b, gpu_, a,
            [&] { return speeds(by_kernel, settings_.samples); }, false);

    sink_.at(gpu_.index, "hbm_triad");
    const std::uint64_t seed = seed_of("hbm_triad"), count = bytes / 8;
    launch(begin_axpy, blocks_, kBlock, lane_.stream, c.as<double>(), b.as<double>(), count, seed);
    check(cudaMemsetAsync(a.as<void>(), 0xff, bytes, lane_.stream), "clearing");
    const Route sums{lane_,
                     [&](cudaStream_t stream) {
                       launch(scaled_sum, blocks_, kBlock, stream, a.as<double2>(),
                              b.as<const double2>(), c.as<const double2>(), double{kAlpha},
                              count / 2);
                     },
                     3 * size};
    Result result{"hbm_triad", speeds(sums, settings_.samples), "GB/s", "sm"};
    inject("hbm_triad", a.as<void>(), bytes);
    launch(check_axpy, blocks_, kBlock, lane_.stream, a.as<const double>(), count, seed,
           std::uint64_t{1}, found_.on_gpu());
    conclude(result, lane_, found_);
  }

 private:
  using Copy = std::function<void(cudaStream_t)>;

  static Copy copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return [=](cudaStream_t stream) {
      check(cudaMemcpyAsync(to, from, bytes, kind, stream), "copying");
    };
  }
  static Copy peer_copy(const DeviceMemory& to, const Gpu& to_gpu, const DeviceMemory& from,
                        const Gpu& from_gpu) {
    return [to = to.as<void>(), from = from.as<void>(), bytes = to.bytes(), a = to_gpu.index,
            b = from_gpu.index](cudaStream_t stream) {
      check(cudaMemcpyPeerAsync(to, a, from, b, bytes, stream), "copying between GPUs");
    };
  }
  Copy kernel(uint4* to, const uint4* from, std::size_t bytes) const {
    return [=, blocks = blocks_](cudaStream_t stream) {
      launch(copy_vectors, blocks, kBlock, stream, to, from,
             static_cast<unsigned long long>(bytes / 16));
    };
  }

  // The size asked for, or what lets `parts` of it fit into half of the free memory.
  std::size_t fitting(int parts) const {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for the memory");
    const std::size_t most = free / 2 / static_cast<unsigned>(parts) / 4096 * 4096;
    if (most < (1 << 20))
      throw Failed({"out-of-memory", std::to_string(free) + " bytes are free on the GPU",
                    "end what uses the GPU"});
    return std::min(settings_.bytes, most);
  }
  std::size_t fitting_on(const Gpu& gpu, int parts) const {
    use(gpu.index);
    const std::size_t bytes = fitting(parts);
    use(gpu_.index);
    return bytes;
  }

  static void allow(const Gpu& from, const Gpu& to) {
    constexpr int kAlready = 704;  // PeerAccessAlreadyEnabled
    use(from.index);
    const cudaError_t error = cudaDeviceEnablePeerAccess(to.index, 0);
    if (static_cast<int>(error) == kAlready)
      cudaGetLastError();
    else
      check(error, "allowing access to " + to.device);
  }

  bool injects(const std::string& name) const {
    return settings_.inject.asked && settings_.inject.name == name;
  }
  std::uint64_t injected_place(std::size_t bytes) const {
    if (settings_.inject.place >= bytes)
      throw Failed({"usage", "--inject: only " + std::to_string(bytes) + " bytes are copied", ""});
    return settings_.inject.place / 8 * 8;
  }
  void inject(const std::string& name, void* data, std::size_t bytes) const {
    if (!injects(name)) return;
    lane_.stream.wait("copying");
    flip_bit(data, injected_place(bytes), settings_.inject.bit);
  }

  using Speeds = std::function<std::vector<double>()>;

  void upwards(const std::string& name, const std::string& way, const HostMemory& from,
               const DeviceMemory& to, const Speeds& measure) {
    sink_.at(gpu_.index, name);
    const std::uint64_t seed = seed_of(name), words = to.bytes() / 8;
    for (std::uint64_t i = 0; i < words; ++i)
      from.as<std::uint64_t>()[i] = word(Pattern::random, 0, seed, i);
    set_bytes(to.as<void>(), 0, to.bytes());
    Result result{name, measure(), "GB/s", way};
    inject(name, to.as<void>(), to.bytes());
    launch(check_words, blocks_, kBlock, lane_.stream, to.as<const std::uint64_t>(), words,
           Pattern::random, 0, seed, found_.on_gpu());
    conclude(result, lane_, found_);
  }

  void downwards(const std::string& name, const std::string& way, const DeviceMemory& from,
                 const HostMemory& to, const Speeds& measure) {
    sink_.at(gpu_.index, name);
    const std::uint64_t seed = seed_of(name), words = from.bytes() / 8;
    launch(write_words, blocks_, kBlock, lane_.stream, from.as<std::uint64_t>(), words,
           Pattern::random, 0, seed);
    lane_.stream.wait("filling");
    std::uint64_t* arrived = to.as<std::uint64_t>();
    std::memset(arrived, 0, words * 8);
    Result result{name, measure(), "GB/s", way};
    if (injects(name))
      arrived[injected_place(words * 8) / 8] ^= std::uint64_t{1} << settings_.inject.bit;
    Found found{};
    for (std::uint64_t i = 0; i < words; ++i) {
      const std::uint64_t expected = word(Pattern::random, 0, seed, i);
      if (arrived[i] == expected) continue;
      if (found.listed < kMostErrors) found.list[found.listed++] = {i, expected, arrived[i]};
      ++found.total;
    }
    conclude(result, found);
  }

  // From one GPU's memory to another's or its own; measured by this one.
  void between(const std::string& name, const std::string& way, const Gpu& peer,
               const Gpu& from_gpu, const DeviceMemory& from, const Gpu& to_gpu,
               const DeviceMemory& to, const Speeds& measure, bool has_peer = true) {
    sink_.at(gpu_.index, has_peer ? name + " with " + peer.device : name);
    const std::uint64_t seed = seed_of(name) + static_cast<unsigned>(peer.index),
                        words = to.bytes() / 8;
    {
      Lane lane(from_gpu.index);
      launch(write_words, blocks_, kBlock, lane.stream, from.as<std::uint64_t>(), words,
             Pattern::random, 0, seed);
      lane.stream.wait("filling");
    }
    Lane lane(to_gpu.index);
    set_bytes(to.as<void>(), 0, to.bytes());
    Result result{name, measure(), "GB/s", way};
    if (has_peer) result.peer = peer.device;
    use(to_gpu.index);
    inject(name, to.as<void>(), to.bytes());
    FoundList found;
    launch(check_words, blocks_, kBlock, lane.stream, to.as<const std::uint64_t>(), words,
           Pattern::random, 0, seed, found.on_gpu());
    conclude(result, lane, found);
    use(gpu_.index);
  }

  void conclude(const Result& result, const Lane& lane, FoundList& list) {
    lane.stream.wait("comparing");
    conclude(result, list.taken());
  }
  void conclude(const Result& result, const Found& found) {
    sink_.result(gpu_.index, result);
    if (found.total) sink_.wrong(gpu_.index, found.total, listed(found, result.name));
  }

  const Gpu& gpu_;
  const BandwidthSettings& settings_;
  Sink& sink_;
  Beside beside_;
  Lane lane_;
  int blocks_;
  FoundList found_;
};

}  // namespace konduktor

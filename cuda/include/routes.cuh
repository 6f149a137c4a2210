// How fast is a way from memory to memory? Series of copies between two events, as nvbandwidth
// does.
//
// Invariant: a figure "while something else runs" is only taken when that ran from before the first
// copy until after the last.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "runtime.cuh"
#include "together.h"

namespace konduktor {

constexpr double kSeriesSeconds = 0.1;
constexpr int kLongestSeries = 16;

// A stream of one GPU, with the events that measure on it.
struct Lane {
  explicit Lane(int its_gpu) : gpu((use(its_gpu), its_gpu)) {}
  int gpu;
  Stream stream;
  Event start, stop;
};

// A way: what makes one copy on a stream of its GPU, and how many bytes that moves.
struct Route {
  Lane& lane;
  std::function<void(cudaStream_t)> copy;
  double bytes;

  void queue(int copies) const {
    use(lane.gpu);
    for (int i = 0; i < copies; ++i) copy(lane.stream);
  }
  double speed(int copies) const {  // GB/s, between start and stop
    return bytes * copies / std::max(lane.stop.since(lane.start), 1e-9) / 1e9;
  }
};

// Copies of a sample; warms the way up.
inline int series_length(const Route& route) {
  route.queue(1);
  route.lane.start.record(route.lane.stream);
  route.queue(1);
  route.lane.stop.record(route.lane.stream);
  route.lane.stop.wait("copying");
  const double seconds = std::max(route.lane.stop.since(route.lane.start), 1e-9);
  return std::clamp(static_cast<int>(kSeriesSeconds / seconds), 1, kLongestSeries);
}

inline std::vector<double> speeds(const Route& route, int samples) {
  const int copies = series_length(route);
  std::vector<double> found;
  for (int i = 0; i < samples; ++i) {
    route.lane.start.record(route.lane.stream);
    route.queue(copies);
    route.lane.stop.record(route.lane.stream);
    route.lane.stop.wait("copying");
    found.push_back(route.speed(copies));
  }
  return found;
}

// While copies run on another route. Throws Failed when they never outlast the measured ones.
inline std::vector<double> speeds_while(const Route& route, const Route& other, int samples) {
  constexpr int kMostOthers = 64 * kLongestSeries;
  const int copies = series_length(route);
  int others = 2 * std::max(copies, series_length(other)) + 1;
  std::vector<double> found;
  while (static_cast<int>(found.size()) < samples) {
    other.queue(1);
    other.lane.start.record(other.lane.stream);  // the others are under way
    other.queue(others);
    other.lane.stop.record(other.lane.stream);
    use(route.lane.gpu);
    check(cudaStreamWaitEvent(route.lane.stream, other.lane.start, 0), "waiting for the others");
    route.lane.start.record(route.lane.stream);
    route.queue(copies);
    route.lane.stop.record(route.lane.stream);
    route.lane.stop.wait("copying both ways");
    constexpr int kNotReady = 600;
    const cudaError_t others_are = cudaEventQuery(other.lane.stop);
    if (static_cast<int>(others_are) != kNotReady) check(others_are, "copying both ways");
    other.lane.stop.wait("copying both ways");
    if (static_cast<int>(others_are) == kNotReady) {
      cudaGetLastError();
      found.push_back(route.speed(copies));
    } else if ((others *= 2) > kMostOthers) {
      throw Failed({"cuda", "copies of the other direction always ended first", ""});
    }
  }
  return found;
}

// While all members copy. `in_round` tells the caller whether this member has measured, for
// leave().
inline std::vector<double> speeds_together(const Route& route, int samples, Together& together,
                                           bool& in_round) {
  const int copies = series_length(route);
  std::vector<double> found;
  for (int i = 0; i < samples; ++i) {
    together.arrive();
    in_round = false;
    route.queue(1);  // the others are under way when it is measured
    route.lane.start.record(route.lane.stream);
    route.queue(copies);
    route.lane.stop.record(route.lane.stream);
    route.queue(1);
    route.lane.stop.wait("copying");
    together.measured();
    in_round = true;
    while (!together.all_measured()) {
      route.queue(1);
      route.lane.stream.wait("copying");
    }
    route.lane.stream.wait("copying");
    found.push_back(route.speed(copies));
  }
  return found;
}

}  // namespace konduktor

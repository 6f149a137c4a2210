// Which number stands for several samples, and which of them are shown?
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace konduktor {

constexpr std::size_t kShownSamples = 64;

// The middle one, or the mean of the two in the middle. Of no samples: 0.
inline double median(std::vector<double> samples) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  return samples.size() % 2 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

// At most `most` of them, evenly spread, the first and the last among them, in their order.
inline std::vector<double> thinned(const std::vector<double>& samples,
                                   std::size_t most = kShownSamples) {
  if (samples.size() <= most || most < 2) return samples;
  std::vector<double> kept;
  kept.reserve(most);
  for (std::size_t i = 0; i < most; ++i)
    kept.push_back(samples[i * (samples.size() - 1) / (most - 1)]);
  return kept;
}

}  // namespace konduktor

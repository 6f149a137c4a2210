// How do findings get from the process that measures to the one that reports? As lines, each
// written as soon as it is known, so that those of a process that is killed later count.
//
//   GPU index <tab> kind <tab> JSON (kind "at": plain words)
//
// A line that is cut off (no newline) or not understood is dropped.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "arguments.h"
#include "report.h"

namespace konduktor {

// All of a GPU but its identity; JSON texts.
struct Findings {
  std::vector<std::string> results, skipped, errors;
  std::uint64_t errors_total = 0;
  std::string failure;  // "" has none
  std::string numa;     // "" has none
  std::string at;       // what it does, or did last
  bool done = false;
};

// The writing end. Threads may share it.
class Sink {
 public:
  explicit Sink(int descriptor) : descriptor_(descriptor) {}

  void at(int gpu, const std::string& what) { line(gpu, "at", what); }
  void result(int gpu, const Result& result) { line(gpu, "result", json(result)); }
  void skipped(int gpu, const Skip& skip) { line(gpu, "skipped", json(skip)); }
  void numa(int gpu, const std::string& binding) { line(gpu, "numa", binding); }
  void done(int gpu) {
    tell_total(gpu, true);
    line(gpu, "done", "");
  }

  // A GPU has one failure: the first counts.
  void failure(int gpu, const Failure& failure) {
    tell_total(gpu, true);
    line(gpu, "failure", json(failure));
  }

  // `total` wrong words, of which some are listed. Broken memory has billions: what is written here
  // is bounded by the list, and by telling the count only when it has doubled or all is done.
  void wrong(int gpu, std::uint64_t total, std::vector<WrongWord> words) {
    std::sort(words.begin(), words.end(), [](const WrongWord& one, const WrongWord& other) {
      return one.address < other.address;
    });
    for (const WrongWord& word : words) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (counts_[gpu].listed++ >= kMostErrors) break;
      }
      line(gpu, "error", json(word));
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      counts_[gpu].total += total;
    }
    tell_total(gpu, false);
  }

 private:
  struct Count {
    std::uint64_t total = 0, told = 0;
    std::size_t listed = 0;
  };

  void tell_total(int gpu, bool at_the_end) {
    std::uint64_t total = 0;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      Count& count = counts_[gpu];
      if (count.total == count.told || (!at_the_end && count.total < 2 * count.told)) return;
      total = count.told = count.total;
    }
    line(gpu, "total", std::to_string(total));
  }

  void line(int gpu, const char* kind, const std::string& payload) {
    const std::string text = std::to_string(gpu) + '\t' + kind + '\t' + payload + '\n';
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t count = write(descriptor_, text.data() + at, text.size() - at);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;  // nobody reads any more
      at += static_cast<std::size_t>(count);
    }
  }

  int descriptor_;
  std::mutex mutex_;
  std::map<int, Count> counts_;
};

// The lines of one or more processes, by GPU index.
inline void collect(const std::string& output, std::map<int, Findings>& all) {
  std::size_t begin = 0;
  for (std::size_t end; (end = output.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::vector<std::string> parts = split(output.substr(begin, end - begin), '\t');
    if (parts.size() != 3 || parts[0].empty() || parts[0].size() > 6 ||
        parts[0].find_first_not_of("0123456789") != std::string::npos)
      continue;
    Findings& gpu = all[std::stoi(parts[0])];
    const std::string &kind = parts[1], &payload = parts[2];
    if (kind == "at") gpu.at = payload;
    if (kind == "result") gpu.results.push_back(payload);
    if (kind == "skipped") gpu.skipped.push_back(payload);
    if (kind == "numa") gpu.numa = payload;
    if (kind == "done") gpu.done = true;
    if (kind == "failure" && gpu.failure.empty()) gpu.failure = payload;
    if (kind == "error" && gpu.errors.size() < kMostErrors) gpu.errors.push_back(payload);
    if (kind == "total") 
      gpu.errors_total = std::max<std::uint64_t>(gpu.errors_total,
                                                 std::strtoull(payload.c_str(), nullptr, 10));
  }
}

inline std::string joined(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (std::size_t i = 0; i < texts.size(); ++i) out += (i ? ", " : "") + texts[i];
  return out + "]";
}

inline std::string json(const Gpu& gpu, const Findings& found) {
  std::string out = "{\"index\": " + std::to_string(gpu.index) + ", \"uuid\": " + quoted(gpu.uuid) +
                    ", \"device\": " + quoted(gpu.device) + ", \"name\": " + quoted(gpu.name) +
                    ", \"compute\": " + quoted(gpu.compute);
  if (!found.numa.empty()) out += ", \"numa\": " + found.numa;
  return out + ", \"results\": " + joined(found.results) + ", \"skipped\": " +
         joined(found.skipped) + ", \"errors\": " + joined(found.errors) + ", \"errors_total\": " +
         std::to_string(found.errors_total) + ", \"error\": " +
         (found.failure.empty() ? "null" : found.failure) + "}";
}

}  // namespace konduktor

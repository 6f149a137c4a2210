// On which CPUs and in which memory does a copy to a GPU have to start? Sysfs and three system
// calls; no libnuma.
//
// A path between sockets halves what a healthy link shows, so whether memory lies beside the GPU is
// told with each figure.
#pragma once

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "report.h"

namespace konduktor {

constexpr int kMostCpus = 8192;
constexpr int kMostNodes = 1024;

// "0-3,8,10-11" (sysfs cpulist). None: it is no such list, empty, or beyond kMostCpus.
inline std::optional<std::vector<int>> cpus_of(const std::string& list) {
  std::vector<int> cpus;
  std::size_t at = 0;
  const auto number_here = [&]() -> int {
    int value = 0, digits = 0;
    for (; at < list.size() && list[at] >= '0' && list[at] <= '9' && digits < 6; ++at, ++digits)
      value = value * 10 + (list[at] - '0');
    return digits ? value : -1;
  };
  while (at < list.size()) {
    const int first = number_here();
    int last = first;
    if (at < list.size() && list[at] == '-') {
      ++at;
      last = number_here();
    }
    if (first < 0 || last < first || last >= kMostCpus) return std::nullopt;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (at == list.size()) break;
    if (list[at++] != ',' || at == list.size()) return std::nullopt;
  }
  if (cpus.empty()) return std::nullopt;
  return cpus;
}

// Where a GPU sits. node -1: the machine has one node, or does not say.
struct Place {
  int node = -1;
  std::string cpus;
};

inline std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line.substr(0, 4096);
}

// `sysfs` is /sys; `device` "0000:3b:00".
inline Place place_of(const std::string& sysfs, const std::string& device) {
  const std::string folder = sysfs + "/bus/pci/devices/" + device + ".0/";
  Place place;
  place.cpus = first_line(folder + "local_cpulist");
  if (!cpus_of(place.cpus)) place.cpus.clear();
  const std::string node = first_line(folder + "numa_node");
  if (!node.empty() && node.size() < 5 && node.find_first_not_of("0123456789") == std::string::npos)
    place.node = std::stoi(node);
  return place;
}

// The calling thread runs on these CPUs only. Errno: it could not be (a cpuset of the container).
inline int run_on(const std::vector<int>& cpus) {
  cpu_set_t* set = CPU_ALLOC(kMostCpus);
  const std::size_t size = CPU_ALLOC_SIZE(kMostCpus);
  CPU_ZERO_S(size, set);
  for (const int cpu : cpus) CPU_SET_S(static_cast<unsigned>(cpu), size, set);
  const int status = sched_setaffinity(0, size, set) == 0 ? 0 : errno;
  CPU_FREE(set);
  return status;
}

// Pages of this range come from that node. Before they are touched. Returns errno.
inline int put_on_node(void* memory, std::size_t bytes, int node) {
  constexpr int kBind = 2;  // MPOL_BIND of linux/mempolicy.h
  if (node < 0 || node >= kMostNodes) return EINVAL;
  unsigned long mask[kMostNodes / 64] = {};
  mask[node / 64] = 1ul << (node % 64);
  return syscall(SYS_mbind, memory, bytes, kBind, mask, kMostNodes + 1, 0) == 0 ? 0 : errno;
}

// The node of a touched page; -1: the kernel does not say.
inline int node_of(void* memory) {
  constexpr int kNode = 1, kAddress = 2;  // MPOL_F_NODE, MPOL_F_ADDR
  int node = -1;
  if (syscall(SYS_get_mempolicy, &node, nullptr, 0, memory, kNode | kAddress) != 0) return -1;
  return node;
}

// What came of the placing, for the report.
struct Binding {
  Place place;
  int memory_node = -1;
  bool bound = false;
  std::string note;
};

inline std::string json(const Binding& binding) {
  return "{\"node\": " + (binding.place.node < 0 ? "null" : std::to_string(binding.place.node)) +
         ", \"cpus\": " + quoted(binding.place.cpus) + ", \"memory_node\": " +
         (binding.memory_node < 0 ? "null" : std::to_string(binding.memory_node)) +
         ", \"bound\": " + (binding.bound ? "true" : "false") + ", \"note\": " +
         quoted(binding.note) + "}";
}

}  // namespace konduktor

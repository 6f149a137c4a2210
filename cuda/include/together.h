// How do several threads load the machine at the same time, so that each one's figure is taken
// under the load of all?
//
// A round: all arrive, each measures, and each goes on loading until the last has measured.
// Invariant: a thread that leaves (an error) stops nobody.
#pragma once

#include <condition_variable>
#include <mutex>

namespace konduktor {

class Together {
 public:
  explicit Together(int members) : members_(members) {}

  // Waits until all members have arrived.
  void arrive() {
    std::unique_lock<std::mutex> lock(mutex_);
    const unsigned round = round_;
    ++arrived_;
    if (!all_arrived()) changed_.wait(lock, [&] { return round != round_; });
  }

  // This member has measured in this round.
  void measured() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++measured_;
  }

  bool all_measured() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return measured_ >= members_;
  }

  // For good. `had_measured`: in this round.
  void leave(bool had_measured) {
    const std::lock_guard<std::mutex> lock(mutex_);
    --members_;
    if (had_measured) --measured_;
    all_arrived();
  }

 private:
  // Begins the next round when all are there. With the mutex held.
  bool all_arrived() {
    if (members_ == 0 || arrived_ < members_) return false;
    arrived_ = 0;
    measured_ = 0;
    ++round_;
    changed_.notify_all();
    return true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int members_, arrived_ = 0, measured_ = 0;
  unsigned round_ = 0;
};

}  // namespace konduktor

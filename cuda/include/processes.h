// How is work done so that it ends? In child processes with a deadline.
//
// Invariants:
// - The caller goes on once the deadline is over, even when a child cannot be killed (a driver call
//   in uninterruptible sleep): that child is left to the kernel.
// - What a child wrote before it died is kept.
// - Children die with their parent.
// The caller has one thread and has not called CUDA: neither survives a fork.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

namespace konduktor {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Writes its results to the descriptor; returns the exit code.
using Work = std::function<int(int)>;

struct Ended {
  bool late = false;  // killed at the deadline
  int exit_code = -1;
  int signal = 0;  // that ended it; 0: none, or not known
  std::string output;
};

constexpr std::size_t kMostOutput = 4 << 20;  // bytes of a child that are kept

namespace detail {

struct Child {
  pid_t pid = -1;
  int output = -1;  // -1: at its end
};

inline Child start(const Work& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const int error = errno;
    close(ends[0]);
    close(ends[1]);
    throw std::system_error(error, std::generic_category(), "fork");
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(ends[0]);
    dup2(STDERR_FILENO, STDOUT_FILENO);  // what libraries print is no result
    _exit(work(ends[1]));
  }
  close(ends[1]);
  return {pid, ends[0]};
}

// Reads what there is. At the end of the output the descriptor is closed.
inline void take(Child& child, Ended& ended) {
  char buffer[65536];
  const ssize_t count = read(child.output, buffer, sizeof buffer);
  if (count > 0) {
    if (ended.output.size() < kMostOutput) ended.output.append(buffer, static_cast<size_t>(count));
  } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
    close(child.output);
    child.output = -1;
  }
}

// Waits at most `seconds` for the end of a child that was killed or has closed its output.
inline void reap(const Child& child, Ended& ended, double seconds) {
  const auto begin = Clock::now();
  do {
    int status = 0;
    const pid_t pid = waitpid(child.pid, &status, WNOHANG);
    if (pid == child.pid) {
      if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
      return;
    }
    if (pid < 0 && errno != EINTR) return;
    poll(nullptr, 0, 5);
  } while (seconds_since(begin) < seconds);
  ended.late = true;
}

}  // namespace detail

// Runs them all at once, and waits until the last has ended or `seconds` are over.
inline std::vector<Ended> run_together(const std::vector<Work>& works, double seconds) {
  const auto begin = Clock::now();
  std::vector<detail::Child> children;
  std::vector<Ended> ended(works.size());
  for (const Work& work : works) children.push_back(detail::start(work));
  for (;;) {
    std::vector<pollfd> waits;
    std::vector<std::size_t> whose;
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (children[i].output < 0) continue;
      waits.push_back({children[i].output, POLLIN, 0});
      whose.push_back(i);
    }
    const double left = seconds - seconds_since(begin);
    if (waits.empty() || left <= 0) break;
    const int timeout = left > 1000 ? 1000000 : static_cast<int>(left * 1000) + 1;
    if (poll(waits.data(), waits.size(), timeout) <= 0) continue;
    for (std::size_t i = 0; i < waits.size(); ++i)
      if (waits[i].revents) detail::take(children[whose[i]], ended[whose[i]]);
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (children[i].output >= 0) {
      ended[i].late = true;
      kill(children[i].pid, SIGKILL);
      close(children[i].output);
    }
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    const bool was_late = ended[i].late;
    detail::reap(children[i], ended[i], was_late ? 1 : 5);
    if (ended[i].late && !was_late) kill(children[i].pid, SIGKILL);
  }
  return ended;
}

// One after the other; `seconds` is for each.
inline std::vector<Ended> run_in_turn(const std::vector<Work>& works, double seconds) {
  std::vector<Ended> ended;
  for (const Work& work : works) ended.push_back(run_together({work}, seconds)[0]);
  return ended;
}

}  // namespace konduktor

// Do children end, do threads wait for each other, and what comes of a program as a whole?
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "processes.h"
#include "program.h"
#include "together.h"

using namespace konduktor;

namespace {

int say(int output, const std::string& text, int exit_code) {
  return write(output, text.data(), text.size()) < 0 ? 99 : exit_code;
}

[[noreturn]] void hang() {
  for (;;) pause();
}

Program program(std::function<Measure(const Arguments&)> prepare) {
  return {"example", "Is this a test?", "1", {}, true,
          [] { return Machine{"13.0", "13.5", {{0, "GPU-a", "0000:01:00", "One", "9.0"},
                                               {1, "GPU-b", "0000:02:00", "Two", "9.0"}}}; },
          std::move(prepare)};
}

struct Said {
  int exit_code;
  std::string text;
};

// In a process of its own, with its stdout in a file.
Said run_program(const Program& program, std::vector<const char*> words) {
  words.insert(words.begin(), "example");
  char name[] = "/tmp/konduktor-test-XXXXXX";
  const int file = mkstemp(name);
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(file, STDOUT_FILENO);
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    const int code = run(program, static_cast<int>(words.size()), words.data());
    _exit(code);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  std::ifstream content(name);
  std::stringstream text;
  text << content.rdbuf();
  close(file);
  unlink(name);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text.str()};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Program measuring(std::function<void(const Gpu&, Sink&)> each) {
  return program([each](const Arguments&) -> Measure {
    return [each](const std::vector<Gpu>& gpus, Sink& sink) {
      for (const Gpu& gpu : gpus) each(gpu, sink);
    };
  });
}

}  // namespace

TEST("children's output and exit codes are theirs") {
  const auto ended = run_together({[](int out) { return say(out, "one", 0); },
                                   [](int out) { return say(out, std::string(300000, 'x'), 3); }},
                                  20);
  CHECK(!ended[0].late && ended[0].output == "one" && ended[0].exit_code == 0);
  CHECK(ended[1].output.size() == 300000 && ended[1].exit_code == 3);
}

TEST("a child that hangs is killed at the deadline, and what it wrote is kept") {
  const auto begin = Clock::now();
  const auto ended = run_together({[](int out) -> int {
                                     say(out, "so far\n", 0);
                                     hang();
                                   },
                                   [](int out) { return say(out, "whole", 0); }},
                                  1);
  CHECK(seconds_since(begin) < 20);
  CHECK(ended[0].late && ended[0].output == "so far\n" && ended[0].signal == SIGKILL);
  CHECK(!ended[1].late && ended[1].output == "whole");
}

TEST("a child that dies says by which signal") {
  const auto ended = run_in_turn({[](int) -> int {
                                    signal(SIGTERM, SIG_DFL);
                                    raise(SIGTERM);
                                    hang();
                                  }},
                                 20);
  CHECK(!ended[0].late && ended[0].signal == SIGTERM);
}

TEST("members of a round measure under the load of all, and one that leaves stops nobody") {
  constexpr int kMembers = 4, kRounds = 20;
  Together together(kMembers);
  std::atomic<int> loading{0}, too_few{0}, rounds{0};
  std::vector<std::thread> threads;
  for (int member = 0; member < kMembers; ++member)
    threads.emplace_back([&, member] {
      const int mine = member == 0 ? kRounds / 2 : kRounds;  // member 0 leaves half way
      bool measured = false;
      for (int round = 0; round < mine; ++round) {
        ++loading;
        together.arrive();
        measured = false;
        if (round < kRounds / 2 && loading < kMembers) ++too_few;
        if (round >= kRounds / 2 && loading < kMembers - 1) ++too_few;
        together.measured();
        measured = true;
        while (!together.all_measured()) std::this_thread::yield();
        together.arrive();  // a second meeting, so that the count below is of one round
        --loading;
        together.measured();
        while (!together.all_measured()) std::this_thread::yield();
        together.arrive();
        together.measured();
        while (!together.all_measured()) std::this_thread::yield();
        ++rounds;
      }
      together.leave(measured);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(too_few == 0);
  CHECK(rounds == kRounds * (kMembers - 1) + kRounds / 2);
}

TEST("everything measured and right is exit code 0") {
  const Said said = run_program(measuring([](const Gpu& gpu, Sink& sink) {
    sink.result(gpu.index, {"speed", {1, 2, 3}, "GB/s"});
    sink.done(gpu.index);
  }), {});
  CHECK(said.exit_code == 0);
  CHECK(has(said.text, "\"device\": \"0000:02:00\""));
  CHECK(has(said.text, "\"value\": 2, \"unit\": \"GB/s\", \"samples\": [1, 2, 3]"));
}

TEST("a wrong word on one GPU is exit code 3, though another could not be measured") {
  const Said said = run_program(measuring([](const Gpu& gpu, Sink& sink) {
    if (gpu.index == 1) throw Failed({"out-of-memory", "none", ""});
    sink.wrong(gpu.index, 1, {{"mismatch", "random", 8, 1, 0}});
    sink.done(gpu.index);
  }), {});
  CHECK(said.exit_code == 3);
  CHECK(has(said.text, "\"code\": \"out-of-memory\"") && has(said.text, "\"errors_total\": 1"));
}

TEST("an error that the driver blames on the hardware is exit code 3") {
  const Said said = run_program(measuring([](const Gpu&, Sink&) {
    throw HardwareFailed("cudaErrorECCUncorrectable");
  }), {"--devices", "GPU-b"});
  CHECK(said.exit_code == 3);
  CHECK(has(said.text, "\"kind\": \"device\"") && !has(said.text, "GPU-a"));
}

TEST("a GPU that does not come to its end is not passed: late, dead or silent") {
  for (const int how : {0, 1, 2}) {
    const Said said = run_program(measuring([how](const Gpu& gpu, Sink& sink) {
      sink.result(gpu.index, {"speed", {1}, "GB/s"});
      sink.at(gpu.index, "the second test");
      if (gpu.index == 0 && how == 0) hang();
      if (gpu.index == 0 && how == 1) {
        signal(SIGTERM, SIG_DFL);
        raise(SIGTERM);
      }
      if (gpu.index == 0 && how == 2) return;
      sink.done(gpu.index);
    }), {"--seconds=1", "--grace=1"});
    CHECK(said.exit_code == 1);
    CHECK(has(said.text, how == 0 ? "\"code\": \"deadline\"" : "\"code\": \"crashed\""));
    CHECK(has(said.text, "at the second test") && has(said.text, "\"value\": 1"));
  }
}

TEST("the driver's own failure is the program's") {
  Program blind = measuring([](const Gpu&, Sink&) {});
  blind.look = []() -> Machine { throw Failed({"no-driver", "gone", "install it"}); };
  const Said said = run_program(blind, {});
  CHECK(said.exit_code == 1 && has(said.text, "\"gpus\": [], \"error\": {\"code\": \"no-driver\""));
  blind.look = []() -> Machine { _exit(7); };
  CHECK(has(run_program(blind, {}).text, "\"code\": \"crashed\""));
}

TEST("a GPU that is not there is named, with those that are") {
  const Said said = run_program(measuring([](const Gpu&, Sink&) {}), {"--devices", "0,7"});
  CHECK(said.exit_code == 1 && has(said.text, "no-such-gpu"));
  CHECK(has(said.text, "there is no GPU 7"));
  CHECK(has(said.text, "1 (0000:02:00, GPU-b)"));
}

TEST("wrong usage is exit code 2, and JSON all the same") {
  const Said said = run_program(measuring([](const Gpu&, Sink&) {}), {"--seconds", "soon"});
  CHECK(said.exit_code == 2 && has(said.text, "\"code\": \"usage\"") && has(said.text, "soon"));
}

TEST("help is text and exit code 0") {
  const Said said = run_program(measuring([](const Gpu&, Sink&) {}), {"--help"});
  CHECK(said.exit_code == 0 && has(said.text, "--devices") && has(said.text, "Exit codes"));
}

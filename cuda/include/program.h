// What do the three programs have in common? Options, which GPUs, child processes, the one JSON
// object, the exit code. Nothing here calls CUDA: what does runs in children.
//
// Invariant: exit code 0 only when each GPU that was asked for came to its end without an error.
#pragma once

#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "arguments.h"
#include "findings.h"
#include "processes.h"
#include "report.h"

namespace konduktor {

enum ExitCode : int { kRight = 0, kCannotWork = 1, kUsage = 2, kWrong = 3 };

// Measuring is not possible; says nothing about the hardware.
struct Failed : std::exception {
  explicit Failed(Failure why) : failure(std::move(why)) {}
  const char* what() const noexcept override { return failure.message.c_str(); }
  Failure failure;
};

// The driver says that the hardware failed.
struct HardwareFailed : std::exception {
  explicit HardwareFailed(std::string driver_says) : message(std::move(driver_says)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

// What the driver has, as seen by a child.
struct Machine {
  std::string driver, runtime;  // CUDA versions
  std::vector<Gpu> gpus;
};

// Measures these GPUs; throws Failed or HardwareFailed.
using Measure = std::function<void(const std::vector<Gpu>&, Sink&)>;

struct Program {
  std::string name, question;
  std::string seconds;         // default of --seconds
  std::vector<Option> options;  // its own
  bool alone;                  // a process for each GPU
  std::function<Machine()> look;                       // in a child; throws Failed
  std::function<Measure(const Arguments&)> prepare;    // throws UsageError; calls no CUDA
};

namespace detail {

inline std::vector<Option> all_options(const Program& program) {
  std::vector<Option> options = {
      {"--devices", "all", "GPUs by index, UUID or PCI address, separated by commas"},
      {"--seconds", program.seconds, "how long it may measure"},
      {"--grace", "30", "seconds after that until what has not ended is killed"},
      {"--inject", "", "make a wrong result on purpose"},
      {"--json", "", "print JSON (it always does)", false},
      {"--help", "", "show this", false},
  };
  if (program.alone) options.push_back({"--parallel", "yes", "all GPUs at once: yes or no"});
  options.insert(options.end(), program.options.begin(), program.options.end());
  return options;
}

inline std::string help(const Program& program) {
  std::string out = "usage: " + program.name + " [options]\n\n" + program.question + "\n\n";
  for (const Option& option : all_options(program)) {
    std::string left = "  " + option.name + (option.takes_value ? " VALUE" : "");
    left.resize(left.size() < 24 ? 24 : left.size() + 1, ' ');
    out += left + option.help;
    if (!option.standard.empty()) out += " (" + option.standard + ")";
    out += "\n";
  }
  return out +
         "\nOne JSON object on stdout. Exit codes: 0 measured and right, 1 cannot work,\n"
         "2 wrong usage, 3 wrong results or hardware errors.\n";
}

inline std::string json(const Program& program, const Machine& machine, bool injected,
                        const std::vector<Gpu>& gpus, const std::map<int, Findings>& found,
                        const std::string& error) {
  std::vector<std::string> each;
  for (const Gpu& gpu : gpus) each.push_back(konduktor::json(gpu, found.at(gpu.index)));
  return "{\"program\": " + quoted(program.name) +
         ", \"version\": " + std::to_string(kFormatVersion) + ", \"driver\": " +
         quoted(machine.driver) + ", \"runtime\": " + quoted(machine.runtime) + ", \"injected\": " +
         (injected ? "true" : "false") + ", \"gpus\": " + joined(each) + ", \"error\": " +
         (error.empty() ? "null" : error) + "}\n";
}

// Says it and returns the exit code; a stdout that takes nothing is a failure.
inline int say(const std::string& text, int exit_code) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) return kCannotWork;
  return exit_code;
}

// The machine as text lines for the way through the pipe, and back.
inline int look(const Program& program, int output) {
  const auto send = [&](const std::string& line) {
    if (write(output, line.data(), line.size()) < 0) _exit(kCannotWork);
  };
  const auto plain = [](std::string text) {
    for (char& c : text)
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
    return text;
  };
  try {
    const Machine machine = program.look();
    for (const Gpu& gpu : machine.gpus)
      send("gpu\t" + std::to_string(gpu.index) + '\t' + plain(gpu.uuid) + '\t' + plain(gpu.device) +
           '\t' + plain(gpu.name) + '\t' + plain(gpu.compute) + '\n');
    send("machine\t" + plain(machine.driver) + '\t' + plain(machine.runtime) + '\n');
    return kRight;
  } catch (const Failed& failed) {
    send("failure\t" + konduktor::json(failed.failure) + '\n');
    return kCannotWork;
  }
}

// Failure JSON; "" when the machine is whole.
inline std::string seen(const Ended& ended, double seconds, Machine& machine) {
  bool whole = false;
  std::string failure;
  for (const std::string& line : split(ended.output, '\n')) {
    const std::vector<std::string> parts = split(line, '\t');
    if (parts[0] == "gpu" && parts.size() == 6)
      machine.gpus.push_back({static_cast<int>(machine.gpus.size()), parts[2], parts[3], parts[4],
                              parts[5]});
    if (parts[0] == "machine" && parts.size() == 3) {
      machine.driver = parts[1];
      machine.runtime = parts[2];
      whole = true;
    }
    if (parts[0] == "failure" && parts.size() == 2) failure = parts[1];
  }
  if (!failure.empty()) return failure;
  if (ended.late)
    return konduktor::json(Failure{"deadline",
                                   "the driver did not answer within " +
                                       std::to_string(static_cast<int>(seconds)) + " s",
                                   "look for Xid lines in the kernel log"});
  if (!whole)
    return konduktor::json(Failure{"crashed",
                                   "asking the driver ended with signal " +
                                       std::to_string(ended.signal) + ", exit code " +
                                       std::to_string(ended.exit_code),
                                   "driver and library may not fit each other"});
  return "";
}

// Those that --devices names. Throws Failed.
inline std::vector<Gpu> asked_for(const std::string& list, const std::vector<Gpu>& all) {
  if (list == "all") return all;
  std::string known;
  for (const Gpu& gpu : all)
    known += (known.empty() ? "" : ", ") + std::to_string(gpu.index) + " (" + gpu.device + ", " +
             gpu.uuid + ")";
  std::vector<bool> wanted(all.size());
  for (const std::string& name : split(list, ',')) {
    bool found = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (name != std::to_string(all[i].index) && name != all[i].uuid && name != all[i].device)
        continue;
      wanted[i] = found = true;
    }
    if (!found)
      throw Failed({"no-such-gpu", "--devices: there is no GPU " + name, "there are: " + known});
  }
  std::vector<Gpu> chosen;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (wanted[i]) chosen.push_back(all[i]);
  return chosen;
}

// In the child.
inline int measure(const Measure& work, const std::vector<Gpu>& gpus, int output) {
  Sink sink(output);
  const auto fail = [&](const Failure& failure) {
    for (const Gpu& gpu : gpus) sink.failure(gpu.index, failure);
    return static_cast<int>(kCannotWork);
  };
  try {
    work(gpus, sink);
    return kRight;
  } catch (const Failed& failed) {
    return fail(failed.failure);
  } catch (const HardwareFailed& failed) {
    // Of one GPU it is that GPU; who measures several says which before it ends.
    if (gpus.size() == 1) {
      WrongWord word;
      word.kind = "device";
      word.test = "";
      word.message = failed.message;
      sink.wrong(gpus[0].index, 1, {word});
    }
    return fail({"cuda", failed.message, ""});
  } catch (const std::bad_alloc&) {
    return fail({"out-of-memory", "not enough memory on the host", ""});
  } catch (const std::exception& error) {
    return fail({"cuda", error.what(), ""});
  }
}

// What a GPU whose child has not come to its end has to say for itself.
inline std::string unfinished(const Ended& ended, const std::string& at, double limit) {
  const std::string where = at.empty() ? "at its beginning" : "at " + at;
  if (ended.late)
    return konduktor::json(
        Failure{"deadline",
                "not done within " + std::to_string(static_cast<int>(limit)) + " s, " + where,
                "a longer --seconds, or the GPU hangs: look for Xid lines in the kernel log"});
  const std::string how = "ended with signal " + std::to_string(ended.signal) + ", exit code " +
                          std::to_string(ended.exit_code) + ", " + where;
  return konduktor::json(Failure{"crashed", how, ""});
}

inline int exit_code_of(const std::map<int, Findings>& found) {
  int exit_code = kRight;
  for (const auto& [gpu, its] : found) {
    if (its.errors_total) return kWrong;
    if (!its.failure.empty()) exit_code = kCannotWork;
  }
  return exit_code;
}

// Measures the GPUs in children, together or in turn, each child within `limit` seconds.
inline std::map<int, Findings> measured(const Program& program, const Measure& work,
                                        const std::vector<Gpu>& gpus, bool parallel, double limit) {
  std::vector<std::vector<Gpu>> shares;
  if (program.alone)
    for (const Gpu& gpu : gpus) shares.push_back({gpu});
  else
    shares.push_back(gpus);
  std::vector<Work> works;
  for (const std::vector<Gpu>& share : shares)
    works.push_back([&work, share](int output) { return measure(work, share, output); });
  const std::vector<Ended> ended =
      parallel ? run_together(works, limit) : run_in_turn(works, limit);

  std::map<int, Findings> found;
  for (std::size_t i = 0; i < ended.size(); ++i) {
    collect(ended[i].output, found);
    for (const Gpu& gpu : shares[i]) {
      Findings& its = found[gpu.index];
      if (its.failure.empty() && !its.done) its.failure = unfinished(ended[i], its.at, limit);
    }
  }
  return found;
}

}  // namespace detail

inline int run(const Program& program, int argc, const char* const* argv) {
  Machine machine;
  bool injected = false;
  const auto fail = [&](const std::string& failure, int exit_code) {
    return detail::say(detail::json(program, machine, injected, {}, {}, failure), exit_code);
  };
  try {
    const Arguments arguments(detail::all_options(program), argc, argv);
    if (arguments.yes("--help")) return detail::say(detail::help(program), kRight);
    const double seconds = static_cast<double>(arguments.whole("--seconds", 1, 86400));
    const double grace = static_cast<double>(arguments.whole("--grace", 1, 3600));
    const bool parallel = program.alone && arguments.yes("--parallel");
    injected = !arguments.text("--inject").empty();
    const Measure work = program.prepare(arguments);

    const double patience = 30 + grace;  // GPUs that sleep take seconds each to wake
    const Ended looked =
        run_together({[&](int output) { return detail::look(program, output); }}, patience)[0];
    const std::string blind = detail::seen(looked, patience, machine);
    if (!blind.empty()) return fail(blind, kCannotWork);
    const std::vector<Gpu> gpus = detail::asked_for(arguments.text("--devices"), machine.gpus);
    const std::map<int, Findings> found =
        detail::measured(program, work, gpus, parallel, seconds + grace);
    return detail::say(detail::json(program, machine, injected, gpus, found, ""),
                       detail::exit_code_of(found));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    if (!error.hint.empty()) std::fprintf(stderr, "hint: %s\n", error.hint.c_str());
    return fail(json(Failure{"usage", error.what(), error.hint}), kUsage);
  } catch (const Failed& failed) {
    return fail(json(failed.failure), kCannotWork);
  } catch (const std::exception& error) {
    return fail(json(Failure{"crashed", error.what(), ""}), kCannotWork);
  }
}

}  // namespace konduktor

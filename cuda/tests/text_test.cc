// What do arguments, numbers, lists of CPUs and reports look like as text, good and bad?
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "arguments.h"
#include "check.h"
#include "findings.h"
#include "numa.h"
#include "report.h"
#include "statistics.h"

using namespace konduktor;

namespace {

const std::vector<Option> kOptions = {
    {"--tests", "all", ""}, {"--seconds", "30", ""}, {"--json", "", "", false}};

Arguments parsed(std::vector<const char*> words) {
  words.insert(words.begin(), "program");
  return Arguments(kOptions, static_cast<int>(words.size()), words.data());
}

}  // namespace

TEST("options are taken in both spellings, the last one counts") {
  CHECK(parsed({}).whole("--seconds", 1, 60) == 30);
  CHECK(parsed({"--seconds", "7"}).whole("--seconds", 1, 60) == 7);
  CHECK(parsed({"--seconds=8", "--json"}).whole("--seconds", 1, 60) == 8);
  CHECK(parsed({"--seconds=8", "--seconds=9"}).whole("--seconds", 1, 60) == 9);
  CHECK(parsed({"--json"}).yes("--json"));
}

TEST("unknown options, missing and superfluous values are refused") {
  CHECK_THROWS(UsageError, parsed({"--nothing"}));
  CHECK_THROWS(UsageError, parsed({"seconds"}));
  CHECK_THROWS(UsageError, parsed({"--seconds"}));
  CHECK_THROWS(UsageError, parsed({"--json=yes"}));
}

TEST("numbers are whole, without sign, within their bounds") {
  for (const char* bad : {"", "-1", "+1", "1.5", "1e3", "0x", "0xg", " 1", "1 ", "61", "0",
                          "99999999999999999999999"})
    CHECK_THROWS(UsageError, whole_number(bad, "--seconds", 1, 60));
  CHECK(whole_number("0x3c", "--seconds", 1, 60) == 60);
}

TEST("a list of tests keeps the order of the known ones, and knows no others") {
  const std::vector<std::string> known = {"address", "walking", "random"};
  CHECK(parsed({}).chosen("--tests", known) == known);
  CHECK(parsed({"--tests", "random,address"}).chosen("--tests", known) ==
        std::vector<std::string>{"address", "random"});
  CHECK_THROWS(UsageError, parsed({"--tests", "other"}).chosen("--tests", known));
  CHECK_THROWS(UsageError, parsed({"--tests", ""}).chosen("--tests", known));
  CHECK_THROWS(UsageError, parsed({"--tests", "random,"}).chosen("--tests", known));
}

TEST("injections name a result, a place and a bit") {
  const Injection asked = injection("dgemm:0x10:63", true, {"dgemm"});
  CHECK(asked.asked && asked.name == "dgemm" && asked.place == 16 && asked.bit == 63);
  CHECK(!injection("", true, {}).asked);
  CHECK_THROWS(UsageError, injection("dgemm:1:64", true, {"dgemm"}));
  CHECK_THROWS(UsageError, injection("sgemm:1:1", true, {"dgemm"}));
  CHECK_THROWS(UsageError, injection("1:2:3", false, {}));
  CHECK(injection("4096:5", false, {}).bit == 5);
}

TEST("the median is the middle, or between the two in the middle") {
  CHECK(median({}) == 0);
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
}

TEST("many samples are shown thinned, the first and the last among them") {
  std::vector<double> many;
  for (int i = 0; i < 1000; ++i) many.push_back(i);
  const std::vector<double> shown = thinned(many);
  CHECK(shown.size() == kShownSamples && shown.front() == 0 && shown.back() == 999);
  CHECK(thinned({1, 2, 3}).size() == 3);
}

TEST("lists of CPUs are read as sysfs writes them, and nothing else") {
  CHECK(cpus_of("0-3,8,10-11") == std::vector<int>({0, 1, 2, 3, 8, 10, 11}));
  CHECK(cpus_of("7") == std::vector<int>({7}));
  for (const char* bad : {"", ",", "1,", "-1", "1-", "3-1", "a", "1;2", "0-99999999", "1--2", "1 2",
                          "8192", "999999999999999999"})
    CHECK(!cpus_of(bad).has_value());
}

TEST("JSON is ASCII whatever the driver says") {
  CHECK(quoted("a\"b\\c\n\x01\xff") == "\"a\\\"b\\\\c???\"");
  CHECK(quoted(std::string(1000, 'x')).size() == 502);
}

TEST("numbers that are not finite are null") {
  CHECK(number(NAN) == "null" && number(INFINITY) == "null");
  CHECK(number(55.25) == "55.25");
  CHECK(json(Result{"h2d", {}, "GB/s"}).find("\"value\": null") != std::string::npos);
}

TEST("a wrong word tells its lowest wrong bit, in the width of its type") {
  CHECK(first_bit(0x10, 0x30) == 5 && first_bit(1, 1) == -1);
  CHECK(first_bit(0, ~std::uint64_t{0}) == 0);
  WrongWord wrong{"mismatch", "sgemm", 0x40, 0x3f800000, 0x3f800001, 32};
  wrong.where = {{"iteration", 2}};
  CHECK(json(wrong) ==
        "{\"kind\": \"mismatch\", \"test\": \"sgemm\", \"address\": \"0x40\", \"expected\": "
        "\"0x3f800000\", \"actual\": \"0x3f800001\", \"bit\": 0, \"iteration\": 2}");
}

TEST("lines that are cut off or foreign are dropped") {
  std::map<int, Findings> all;
  collect("0\tresult\t{\"a\": 1}\n0\tat\tdgemm\nfoo\n-1\tdone\t\n0\tresult\t{\"b\"", all);
  CHECK(all.size() == 1 && all[0].results.size() == 1 && all[0].at == "dgemm" && !all[0].done);
}

TEST("errors are listed up to a bound, and counted beyond it") {
  int ends[2];
  CHECK(pipe(ends) == 0);
  {
    Sink sink(ends[1]);
    for (std::uint64_t round = 0; round < 400; ++round) {
      std::vector<WrongWord> words;
      for (std::uint64_t i = 0; i < 10; ++i) words.push_back({"mismatch", "random", 80 - 8 * i});
      sink.wrong(0, 1000, words);
    }
    sink.done(0);
  }
  close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    output.append(buffer, static_cast<std::size_t>(count));
  close(ends[0]);
  CHECK(output.size() < 8192);
  std::map<int, Findings> all;
  collect(output, all);
  CHECK(all[0].errors_total == 400000 && all[0].errors.size() == kMostErrors && all[0].done);
  CHECK(all[0].errors[0].find("\"address\": \"0x8\"") != std::string::npos);
}

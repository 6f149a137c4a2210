// Runs all tests; exit code 1 when one fails or there is none.
#include "check.h"

int main() {
  int failed = 0;
  for (const check::Test& test : check::all()) {
    bool passed = true;
    test.body(passed);
    if (!passed) ++failed;
    std::printf("%s  %s\n", passed ? "ok  " : "FAIL", test.name);
    std::fflush(stdout);
  }
  std::printf("%zu tests, %d failed\n", check::all().size(), failed);
  return failed || check::all().empty() ? 1 : 0;
}

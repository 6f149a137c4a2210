// A test is a function with a sentence for a name; it fails by returning from CHECK.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char* name;
  std::function<void(bool&)> body;
};

inline std::vector<Test>& all() {
  static std::vector<Test> tests;
  return tests;
}

struct Registration {
  Registration(const char* name, std::function<void(bool&)> body) {
    all().push_back({name, std::move(body)});
  }
};

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                                       \
  static void CHECK_JOIN(test_, __LINE__)(bool&);                                        \
  static const check::Registration CHECK_JOIN(registration_, __LINE__)(                  \
      name, CHECK_JOIN(test_, __LINE__));                                                \
  static void CHECK_JOIN(test_, __LINE__)([[maybe_unused]] bool& passed)

#define CHECK(...)                                                                   \
  do {                                                                               \
    if (!(__VA_ARGS__)) {                                                            \
      std::printf("  %s:%d: not so: %s\n", __FILE__, __LINE__, #__VA_ARGS__);        \
      passed = false;                                                                \
      return;                                                                        \
    }                                                                                \
  } while (false)

#define CHECK_THROWS(type, ...)                                                      \
  do {                                                                               \
    bool thrown = false;                                                             \
    try {                                                                            \
      static_cast<void>(__VA_ARGS__);                                                \
    } catch (const type&) {                                                          \
      thrown = true;                                                                 \
    }                                                                                \
    CHECK(thrown && #__VA_ARGS__);                                                   \
  } while (false)

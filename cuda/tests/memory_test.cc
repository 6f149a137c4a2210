// Which faults does each pattern find? On a memory that is simulated, fault by fault.
#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "check.h"
#include "march.h"
#include "pattern.h"

using namespace konduktor;

namespace {

constexpr std::uint64_t kSeed = 1;

// A memory of words with one fault.
class Faulty {
 public:
  explicit Faulty(std::size_t words) : cells_(words, 0) {}
  virtual ~Faulty() = default;

  bool write(Pattern pattern, int step) {
    for (std::size_t i = 0; i < cells_.size(); ++i) store(i, word(pattern, step, kSeed, i));
    return true;
  }
  bool check(Pattern pattern, int step) {
    for (std::size_t i = 0; i < cells_.size(); ++i)
      wrong_ += load(i) != word(pattern, step, kSeed, i);
    return true;
  }
  bool check_and_invert(Pattern pattern, int step, bool from_inverse) {
    for (std::size_t n = 0; n < cells_.size(); ++n) {
      const std::size_t i = from_inverse ? cells_.size() - 1 - n : n;
      const std::uint64_t plain = word(pattern, step, kSeed, i);
      const std::uint64_t expected = from_inverse ? ~plain : plain;
      wrong_ += load(i) != expected;
      store(i, ~expected);
    }
    return true;
  }
  std::size_t wrong() const { return wrong_; }

 protected:
  virtual void store(std::size_t i, std::uint64_t value) { cells_[i] = value; }
  virtual std::uint64_t load(std::size_t i) { return cells_[i]; }
  std::vector<std::uint64_t> cells_;

 private:
  std::size_t wrong_ = 0;
};

class StuckBit : public Faulty {
 public:
  StuckBit(std::size_t words, std::size_t at, int bit, bool high)
      : Faulty(words), at_(at), mask_(std::uint64_t{1} << bit), high_(high) {}

 private:
  std::uint64_t load(std::size_t i) override {
    if (i != at_) return cells_[i];
    return high_ ? cells_[i] | mask_ : cells_[i] & ~mask_;
  }
  std::size_t at_;
  std::uint64_t mask_;
  bool high_;
};

// An address line that is stuck at 0: two addresses share a cell.
class StuckLine : public Faulty {
 public:
  StuckLine(std::size_t words, int line) : Faulty(words), mask_(std::size_t{1} << line) {}

 private:
  void store(std::size_t i, std::uint64_t value) override { cells_[i & ~mask_] = value; }
  std::uint64_t load(std::size_t i) override { return cells_[i & ~mask_]; }
  std::size_t mask_;
};

// Writing a word flips a bit of the next one.
class Coupled : public Faulty {
 public:
  Coupled(std::size_t words, std::size_t aggressor, int bit)
      : Faulty(words), aggressor_(aggressor), bit_(bit) {}

 private:
  void store(std::size_t i, std::uint64_t value) override {
    const bool changes = cells_[i] != value;
    cells_[i] = value;
    if (i == aggressor_ && changes) cells_[i + 1] ^= std::uint64_t{1} << bit_;
  }
  std::size_t aggressor_;
  int bit_;
};

// A bit that is lost between writing and reading, in one step.
class Flipped : public Faulty {
 public:
  Flipped(std::size_t words, std::size_t at, int bit) : Faulty(words), at_(at), bit_(bit) {}

 private:
  std::uint64_t load(std::size_t i) override {
    if (i == at_ && !done_) {
      done_ = true;
      cells_[i] ^= std::uint64_t{1} << bit_;
    }
    return cells_[i];
  }
  std::size_t at_;
  int bit_;
  bool done_ = false;
};

std::size_t found_by(Pattern pattern, Faulty& memory) {
  march(memory, pattern);
  return memory.wrong();
}

}  // namespace

TEST("memory without a fault has no wrong word") {
  for (const Pattern pattern : kPatterns) {
    Faulty memory(300);
    CHECK(found_by(pattern, memory) == 0);
  }
}

TEST("each pattern finds each stuck bit, high and low") {
  for (const Pattern pattern : kPatterns)
    for (int bit = 0; bit < 64; ++bit)
      for (const std::size_t at : {0u, 63u, 129u, 199u})
        for (const bool high : {false, true}) {
          StuckBit memory(200, at, bit, high);
          CHECK(found_by(pattern, memory) > 0);
        }
}

TEST("address, inversions and random find each stuck address line") {
  for (const Pattern pattern : {Pattern::address, Pattern::inversions, Pattern::random})
    for (int line = 0; line < 10; ++line) {
      StuckLine memory(1024, line);
      CHECK(found_by(pattern, memory) > 0);
    }
}

TEST("walking does not see an address line of 64 words or more, and does not claim it") {
  StuckLine seen(1024, 5), unseen(1024, 6);
  CHECK(found_by(Pattern::walking, seen) > 0);
  CHECK(found_by(Pattern::walking, unseen) == 0);
}

TEST("inversions find a cell that follows its neighbour") {
  for (int bit = 0; bit < 64; ++bit) {
    Coupled memory(200, 100, bit);
    CHECK(found_by(Pattern::inversions, memory) > 0);
  }
}

TEST("a bit that flips once is one wrong word") {
  for (const Pattern pattern : kPatterns) {
    Flipped memory(128, 77, 13);
    const std::size_t wrong = found_by(pattern, memory);
    CHECK(wrong == 1);
  }
}

TEST("each bit of each word is 0 in one step and 1 in another") {
  for (const Pattern pattern : kPatterns)
    for (const std::uint64_t index : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{12345},
                                      (std::uint64_t{1} << 36) + 17}) {
      std::uint64_t ones = 0, zeros = 0;
      for (int step = 0; step < steps_of(pattern); ++step) {
        ones |= word(pattern, step, kSeed, index);
        zeros |= ~word(pattern, step, kSeed, index);
        if (pattern == Pattern::inversions) {
          ones |= ~word(pattern, step, kSeed, index);
          zeros |= word(pattern, step, kSeed, index);
        }
      }
      CHECK(ones == ~std::uint64_t{0} && zeros == ~std::uint64_t{0});
    }
}

TEST("noise differs by place and seed") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (std::uint64_t i = 0; i < 10000; ++i) seen.insert(mixed(seed, i));
  CHECK(seen.size() == 100000);
}

TEST("a walk ends between steps when its time is over") {
  struct Short : Faulty {
    Short() : Faulty(8) {}
    bool write(Pattern pattern, int step) { return step < 3 && Faulty::write(pattern, step); }
  } memory;
  CHECK(!march(memory, Pattern::walking));
  CHECK(march(memory, Pattern::address));
}

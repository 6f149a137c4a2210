// How do the threads of a block run on one CPU? As fibers, in turn, that change at barriers. A
// kernel whose first block met no barrier needs none in the others: their threads are plain calls.
#pragma once

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulated {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
struct Here {
  Index thread, block, threads, blocks;
};

class Block {
 public:
  Block(int threads, const std::function<void()>& body)
      : fibers_(static_cast<std::size_t>(threads)) {
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      fibers_[i].stack = stack(i);
      fibers_[i].thread = static_cast<unsigned>(i);
    }
    body_ = &body;
  }

  // All threads of block `index` of `blocks`. A thread that leaves while others wait at a barrier
  // is an error of the kernel, as it is on a GPU.
  void run(unsigned index, unsigned blocks) {
    current() = this;
    here_.block.x = index;
    here_.blocks.x = blocks;
    here_.threads.x = static_cast<unsigned>(fibers_.size());
    if (index > 0 && !met_barrier_) {
      running_ = nullptr;
      for (Fiber& fiber : fibers_) {
        here_.thread.x = fiber.thread;
        (*body_)();
      }
      current() = nullptr;
      return;
    }
    for (Fiber& fiber : fibers_) prepare(fiber);
    for (;;) {
      std::size_t ended = 0;
      for (Fiber& fiber : fibers_) {
        enter(fiber);
        ended += fiber.ended;
      }
      if (ended == fibers_.size()) break;
      if (ended) {
        std::fputs("a thread has ended while others wait at a barrier\n", stderr);
        std::abort();
      }
    }
    current() = nullptr;
  }

  void barrier() {
    met_barrier_ = true;
    if (!running_) {
      std::fputs("a block meets a barrier that the first did not\n", stderr);
      std::abort();
    }
    leave(*running_, false);
  }
  const Here& here() const { return here_; }

  static Block*& current() {
    thread_local Block* block = nullptr;
    return block;
  }

 private:
  static constexpr std::size_t kStack = 128 << 10;
  struct Fiber {
    char* stack = nullptr;
    ucontext_t context;
    unsigned thread = 0;
    bool ended = false;
    void* fake_stack = nullptr;
  };

  // Kept for the next block: one runs at a time.
  static char* stack(std::size_t thread) {
    static std::vector<std::unique_ptr<char[]>> stacks;
    while (stacks.size() <= thread) stacks.emplace_back(new char[kStack]);
    return stacks[thread].get();
  }

  void prepare(Fiber& fiber) {
    fiber.ended = false;
    fiber.fake_stack = nullptr;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Block::begin, 0);
  }

  static void begin() {
    Block& block = *current();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block.caller_bottom_, &block.caller_size_);
#endif
    (*block.body_)();
    block.leave(*block.running_, true);
  }

  void enter(Fiber& fiber) {
    running_ = &fiber;
    here_.thread.x = fiber.thread;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&caller_fake_, fiber.stack, kStack);
#endif
    swapcontext(&caller_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(caller_fake_, nullptr, nullptr);
#endif
  }

  void leave(Fiber& fiber, bool ended) {
    fiber.ended = ended;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(ended ? nullptr : &fiber.fake_stack, caller_bottom_,
                                   caller_size_);
#endif
    swapcontext(&fiber.context, &caller_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, &caller_bottom_, &caller_size_);
#endif
  }

  std::vector<Fiber> fibers_;
  const std::function<void()>* body_ = nullptr;
  Fiber* running_ = nullptr;
  bool met_barrier_ = false;
  Here here_;
  ucontext_t caller_;
#if defined(__SANITIZE_ADDRESS__)
  void* caller_fake_ = nullptr;
  const void* caller_bottom_ = nullptr;
  std::size_t caller_size_ = 0;
#endif
};

inline const Here& here() { return Block::current()->here(); }
inline void barrier() { Block::current()->barrier(); }

inline void run_blocks(int blocks, int threads, const std::function<void()>& body) {
  Block block(threads, body);
  for (int i = 0; i < blocks; ++i)
    block.run(static_cast<unsigned>(i), static_cast<unsigned>(blocks));
}

}  // namespace emulated

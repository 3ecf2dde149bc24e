// A few threads that help with one function, spin while work keeps coming, and sleep when idle.
//
// No thread waits for a helper that has not begun: if its core is busy with an event loop or another
// process, the caller does all of the work.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tokenspeed {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  explicit Pool(int num_threads) : size_(num_threads) {
    for (int i = 1; i < num_threads; i++) threads_.emplace_back([this, i] { work(i); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  int size() const { return size_; }

  // Runs function(thread index) on the caller's thread, and on others as they wake up. The function
  // must divide its work by itself. Returns when no thread is running it any more.
  template <class Function>
  void run(Function&& function) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = [](void* f, int thread) { (*static_cast<Function*>(f))(thread); };
      argument_ = &function;
      round_.fetch_add(1, std::memory_order_release);
    }
    if (size_ > 1) wake_.notify_all();
    function(0);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = nullptr;
    }
    wait([&] { return helping_.load(std::memory_order_acquire) == 0; });
  }

  // Waits for something that other threads are working on.
  template <class Condition>
  static void wait(Condition&& condition) {
    for (int spins = 0; !condition(); spins++) {
      relax();
      // The others may be waiting for this core.
      if (spins > kSpins) std::this_thread::yield();
    }
  }

 private:
  static constexpr int kSpins = 2000;       // some tens of microseconds
  static constexpr int kIdleSpins = 20000;  // the next step usually follows within half a ms

  void work(int thread) {
    unsigned seen = 0;
    for (;;) {
      for (int i = 0; i < kIdleSpins && round_.load(std::memory_order_acquire) == seen; i++) relax();
      if (round_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
      }
      void (*task)(void*, int);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        seen = round_.load(std::memory_order_relaxed);
        if (stopping_) return;
        task = task_;
        if (task) helping_.fetch_add(1, std::memory_order_relaxed);
      }
      if (!task) continue;  // it was done before this thread was awake
      task(argument_, thread);
      helping_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int size_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> round_{0};
  std::atomic<int> helping_{0};
  bool stopping_ = false;
  void (*task_)(void*, int) = nullptr;
  void* argument_ = nullptr;
};

}  // namespace tokenspeed

// A few threads that run one function together, spin while work keeps coming, and sleep when idle.
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

  // Runs function(thread index) on every thread, the caller's included, and waits for all.
  template <class Function>
  void run(Function&& function) {
    task_ = [](void* f, int thread) { (*static_cast<Function*>(f))(thread); };
    argument_ = &function;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    if (size_ > 1) wake_.notify_all();
    function(0);
    barrier();
  }

  // Waits until every thread of the running function is here.
  void barrier() {
    if (size_ == 1) return;
    const unsigned generation = generation_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      arrived_.store(0, std::memory_order_relaxed);
      generation_.store(generation + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; spins++) {
      relax();
      // The others may be waiting for this very core: an event loop runs here too.
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
      seen = round_.load(std::memory_order_acquire);
      if (stopping_) return;
      task_(argument_, thread);
      barrier();
    }
  }

  const int size_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> round_{0};
  std::atomic<unsigned> generation_{0};
  std::atomic<int> arrived_{0};
  bool stopping_ = false;
  void (*task_)(void*, int) = nullptr;
  void* argument_ = nullptr;
};

}  // namespace tokenspeed

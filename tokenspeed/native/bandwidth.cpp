// How fast this machine reads memory: the upper limit for a step that is bound by its weights.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

// Four independent sums, so that loads and not additions are the bottleneck.
uint64_t read_all(const uint64_t* data, size_t words) {
  uint64_t sums[4][8] = {};
  for (size_t i = 0; i + 32 <= words; i += 32)
    for (int a = 0; a < 4; a++)
      for (int b = 0; b < 8; b++) sums[a][b] += data[i + a * 8 + b];
  uint64_t total = 0;
  for (auto& row : sums)
    for (const uint64_t sum : row) total += sum;
  return total;
}

}  // namespace

// Reads `bytes` repeatedly for about `seconds` with `threads` threads, each its own part. Returns
// bytes per second by the fastest pass of each thread, or 0 if there is no memory for it.
extern "C" __attribute__((visibility("default"))) double tokenspeed_read_bandwidth(
    int64_t bytes, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  const size_t words = static_cast<size_t>(bytes) / sizeof(uint64_t);
  auto* data = static_cast<uint64_t*>(std::malloc(words * sizeof(uint64_t)));
  if (!data) return 0.0;
  for (size_t i = 0; i < words; i++) data[i] = i;  // written, so that the pages exist
  const size_t part = words / threads / 32 * 32;
  std::vector<double> best(threads, 1e30);
  std::vector<uint64_t> sink(threads);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  const auto work = [&](int t) {
    do {
      const auto start = Clock::now();
      sink[t] += read_all(data + t * part, part);
      const double took = std::chrono::duration<double>(Clock::now() - start).count();
      if (took < best[t]) best[t] = took;
    } while (Clock::now() < end);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; t++) others.emplace_back(work, t);
  work(0);
  for (auto& thread : others) thread.join();
  double slowest = 0.0;
  volatile uint64_t keep = 0;
  for (int t = 0; t < threads; t++) {
    slowest = best[t] > slowest ? best[t] : slowest;
    keep = keep + sink[t];
  }
  std::free(data);
  return part * threads * sizeof(uint64_t) / slowest;
}

// A whole ragged step in one call: embedding, layers, head, choice of the next tokens, for LLaMA and
// its variants by switches.
//
// Knows int8 weights, KV slots and threads; does not know files, Python objects or requests. Its
// interface is step.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels.h"
#include "pool.h"
#include "step.h"

namespace tokenspeed {
namespace {

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Zeroed memory, aligned to a cache line. The system provides large buffers page by page, so room
// for longer sequences costs nothing until it is used.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) : memory_(std::calloc(count * sizeof(T) + kAlign, 1)) {
    if (!memory_) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    data_ = reinterpret_cast<T*>((address + kAlign - 1) / kAlign * kAlign);
  }
  T* get() const { return data_; }

 private:
  static constexpr size_t kAlign = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> memory_;
  T* data_ = nullptr;
};

// One piece of memory for all weights, in pages of 2 MiB where the system has them: a step reads all
// of it, and with pages of 4 KiB each one costs a walk through the page tables and interrupts the
// processor's prefetching.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { std::free(memory_); }

  void reserve(size_t bytes) {
    memory_ = std::calloc(bytes + 2 * kPage, 1);
    if (!memory_) throw std::bad_alloc();
    next_ = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory_) + kPage - 1) / kPage *
                                       kPage);
    end_ = next_ + bytes;
#if defined(MADV_HUGEPAGE)
    madvise(next_, bytes, MADV_HUGEPAGE);  // a request; if it is refused, only time is lost
#endif
  }

  // Zeroed memory, aligned to a cache line.
  uint8_t* take(size_t bytes) {
    uint8_t* taken = next_;
    next_ += padded(bytes);
    if (next_ > end_) throw std::bad_alloc();
    return taken;
  }

  static size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  static constexpr size_t kPage = 2 << 20;
  void* memory_ = nullptr;
  uint8_t *next_ = nullptr, *end_ = nullptr;
};

struct PackedMatrix : Matrix {
  void shape(int bits_, bool fine, int num_rows, int num_cols) {
    bits = bits_;
    is_fine = fine;
    rows = num_rows;
    cols = round_up(num_cols, kBlock);
    panels = round_up(num_rows, kPanelRows) / kPanelRows;
  }

  size_t bytes() const { return Arena::padded(data_bytes()) + Arena::padded(scale_bytes()); }

  // values: [rows, cols], one byte each, for int4 in -8..7. row_scales: [rows]; for int4 and fine
  // [rows, blocks].
  void pack(const Kernels& kernels, Arena& arena, const int8_t* values, const float* row_scales,
            int num_rows, int num_cols) {
    group = kernels.group;
    offset = bits == 8 ? kernels.offset8 : 8;
    const int per_row = scales_per_row();
    data = arena.take(data_bytes());
    scales = reinterpret_cast<float*>(arena.take(scale_bytes()));
    // Padding also has the value 0 before the offset, so that the offset cancels.
    std::vector<int8_t> line(cols);
    for (int row = 0; row < panels * kPanelRows; row++) {
      const bool real = row < num_rows;
      if (real) std::memcpy(line.data(), values + static_cast<int64_t>(row) * num_cols, num_cols);
      else std::fill(line.begin(), line.end(), int8_t{0});
      put(row, line.data());
      for (int i = 0; real && i < per_row; i++)
        scales[(static_cast<int64_t>(row / kPanelRows) * per_row + i) * kPanelRows +
               row % kPanelRows] = row_scales[static_cast<int64_t>(row) * per_row + i];
    }
  }

  // A row as float32: an embedding.
  void unpack(int row, int size, float* out) const {
    const float* scale = scales + row % kPanelRows;
    scale += static_cast<int64_t>(row / kPanelRows) * kPanelRows * scales_per_row();
    for (int col = 0; col < size; col++) {
      const uint8_t byte = data[index(row, col)];
      const float by = scale[is_by_block() ? col / kBlock * kPanelRows : 0];
      if (bits == 8)
        out[col] = static_cast<int8_t>(byte - offset) * by;
      else
        out[col] = ((row % kPanelRows < 16 ? byte & 15 : byte >> 4) - offset) * by;
    }
  }

  std::vector<float> bias;  // [rows], or empty
  bool takes_rest = false;  // also multiply the rounding errors of activations

 private:
  bool is_by_block() const { return bits == 4 || is_fine; }
  int scales_per_row() const { return is_by_block() ? num_blocks() : 1; }
  size_t data_bytes() const { return static_cast<size_t>(panels) * panel_bytes(); }
  size_t scale_bytes() const { return sizeof(float) * panels * kPanelRows * scales_per_row(); }

  int64_t index(int row, int col) const {
    const int height = bits == 8 ? kPanelRows : kPanelRows / 2;
    const int in_panel = col / group * height * group + row % height * group + col % group;
    return row / kPanelRows * panel_bytes() + in_panel;
  }

  void put(int row, const int8_t* line) {
    const int shift = bits == 8 || row % kPanelRows < 16 ? 0 : 4;
    for (int col = 0; col < cols; col += group) {
      uint8_t* bytes = data + index(row, col);
      for (int i = 0; i < group; i++)
        bytes[i] |= static_cast<uint8_t>(static_cast<unsigned>(line[col + i] + offset) << shift);
    }
  }

  int group = 0, offset = 0;
};

// Norms that a model does not have are empty.
struct Layer {
  PackedMatrix qkv, output, gate_up, down;
  std::vector<float> attention_norm, mlp_norm, attention_out_norm, mlp_out_norm, q_norm, k_norm;
  int rope = 0;
};

}  // namespace

class Model {
 public:
  Model(const Shape& shape, const Kernels& kernels)
      : shape_(shape),
        kernels_(kernels),
        layers_(shape.num_layers),
        pool_(shape.num_threads),
        head_dim_(round_up(shape.head_dim, kLanes)),
        length_(round_up(shape.max_length, kLanes)),
        width_(shape.num_heads * shape.head_dim),
        kv_width_(shape.num_kv_heads * shape.head_dim),
        qkv_width_(width_ + 2 * kv_width_) {
    const size_t rows = shape.max_rows;
    widest_ = round_up(std::max({shape.hidden_size, shape.intermediate_size, width_}), kBlock);
    k_cache_ = Buffer<uint8_t>(cache_size());
    v_cache_ = Buffer<uint8_t>(cache_size());
    hidden_ = Buffer<float>(rows * shape.hidden_size);
    qkv_ = Buffer<float>(rows * qkv_width_);
    attended_ = Buffer<float>(rows * width_);
    gate_up_ = Buffer<float>(rows * 2 * shape.intermediate_size);
    logits_ = Buffer<float>(rows * shape.vocab_size);
    // Rows shared by all threads, and a row of its own for each; then the same for rounding errors.
    const size_t packed = (rows + shape.num_threads) * (shape.fine ? 2 : 1);
    quantized_ = Buffer<int8_t>(packed * widest_ * kernels.activation_bytes);
    parts_ = widest_ / kBlock * (shape.fine ? 2 : 1);
    scales_ = Buffer<float>(packed * parts_);
    sums_ = Buffer<int32_t>(packed * parts_);
    activated_ = Buffer<float>(static_cast<size_t>(shape.num_threads) * widest_);
    scores_ = Buffer<float>(static_cast<size_t>(shape.num_threads) * scores_size());
    shape_weights();
    switch_on(Switches());
  }

  // Before weights are set.
  void switch_on(const Switches& switches) {
    switches_ = switches;
    if (switches_.attention_scale == 0.0f)
      switches_.attention_scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    if (switches_.norms_after)
      branch_ = Buffer<float>(static_cast<size_t>(shape_.max_rows) * shape_.hidden_size);
    stages_per_layer_ = 10;
    if (switches_.norms_after || switches_.qk_norm == kAllHeads) stages_per_layer_ = 13;
    counters_ =
        std::vector<Counter>((shape_.num_layers * stages_per_layer_ + 4) * shape_.num_threads);
  }

  // Bytes of all keys, and of all values.
  size_t cache_size() const {
    return static_cast<size_t>(shape_.num_layers) * shape_.num_slots * shape_.num_kv_heads *
           length_ * head_dim_ * kept_bytes();
  }

  void set(PackedMatrix& matrix, const int8_t* weights, const float* scales, int rows, int cols) {
    matrix.pack(kernels_, weights_, weights, scales, rows, cols);
  }

  void step(int count, const int32_t* tokens, const int32_t* slots, const int32_t* positions,
            int num_outputs, const int32_t* outputs, const int32_t* drafts, const float* biases,
            int32_t* next_tokens, float* logits_out);

  void copy_slot(int source, int target, int length);

  Shape shape_;
  Switches switches_;
  const Kernels& kernels_;
  std::vector<Layer> layers_;
  PackedMatrix head_;
  std::vector<int8_t> embedding_;  // [vocab_size, hidden_size], empty when tied
  std::vector<float> embedding_scales_, norm_, cos_, sin_;

 private:
  void shape_weights() {
    size_t bytes = 0;
    const auto add = [&](PackedMatrix& matrix, int rows, int cols, int bits) {
      matrix.shape(bits, shape_.fine, rows, cols);
      bytes += matrix.bytes();
    };
    for (Layer& layer : layers_) {
      layer.qkv.takes_rest = shape_.fine;
      add(layer.qkv, qkv_width_, shape_.hidden_size, shape_.bits);
      add(layer.output, shape_.hidden_size, width_, shape_.bits);
      add(layer.gate_up, 2 * shape_.intermediate_size, shape_.hidden_size, shape_.bits);
      add(layer.down, shape_.hidden_size, shape_.intermediate_size, shape_.bits);
    }
    add(head_, shape_.vocab_size, shape_.hidden_size, shape_.head_bits);
    weights_.reserve(bytes);
  }

  // A stage's pieces are divided among the threads, the same way in every step, so that each thread
  // streams through its own weights. One that has finished takes from the others. `next` counts the
  // pieces taken from a thread's part; a stage ends when all pieces are done, by any thread.
  struct alignas(64) Counter {
    std::atomic<int> next{0}, done{0};
  };

  template <class Work>
  void share(int stage, int thread, int pieces, Work&& work) {
    const int threads = shape_.num_threads;
    Counter* counters = counters_.data() + static_cast<size_t>(stage) * threads;
    int finished = 0;
    for (int i = 0; i < threads; i++) {
      const int owner = (thread + i) % threads;
      const int begin = static_cast<int64_t>(pieces) * owner / threads;
      const int end = static_cast<int64_t>(pieces) * (owner + 1) / threads;
      std::atomic<int>& next = counters[owner].next;
      if (begin + next.load(std::memory_order_relaxed) >= end) continue;
      for (int at; (at = begin + next.fetch_add(1, std::memory_order_relaxed)) < end; finished++)
        work(at);
    }
    std::atomic<int>& done = counters[0].done;
    if (finished) done.fetch_add(finished, std::memory_order_acq_rel);
    Pool::wait([&] { return done.load(std::memory_order_acquire) == pieces; });
  }

  void embed(int token, float* out);
  template <class Prepare>
  void product(int stage, const PackedMatrix& w, int count, int thread, Prepare&& prepare, float* y,
               int stride, bool accumulate);
  void attention(int stage, int thread, int layer, int count, const int32_t* slots,
                 const int32_t* positions);
  void store_keys(float* row, int layer, int kv_head, int slot, int position);

  // The start of what is cached for a head of a slot.
  uint8_t* cached(const Buffer<uint8_t>& cache, int layer, int slot, int head) const {
    const size_t row = (static_cast<size_t>(layer) * shape_.num_slots + slot) *
                           shape_.num_kv_heads + head;
    return cache.get() + row * length_ * head_dim_ * kept_bytes();
  }

  size_t kept_bytes() const { return shape_.half_cache ? sizeof(Half) : sizeof(float); }
  size_t scores_size() const { return kHeadsTogether * length_ + kLanes; }

  Arena weights_;
  Pool pool_;
  const int head_dim_, length_;  // padded
  const int width_, kv_width_, qkv_width_;
  // [layer, slot, kv head] of keys [length_ / 16, head_dim, 16] and values [length_, head_dim_].
  Buffer<uint8_t> k_cache_, v_cache_;
  Buffer<float> hidden_, qkv_, attended_, gate_up_, logits_, scales_, scores_, activated_;
  Buffer<float> branch_;  // a branch's output before its norm
  int widest_ = 0, parts_ = 0, stages_per_layer_ = 0;  // parts_: scales of a row of activations
  Buffer<int8_t> quantized_;
  Buffer<int32_t> sums_;
  std::vector<Counter> counters_;
};

void Model::embed(int token, float* out) {
  const int size = shape_.hidden_size;
  if (shape_.tied) {
    head_.unpack(token, size, out);
  } else {
    const int8_t* row = embedding_.data() + static_cast<size_t>(token) * size;
    for (int i = 0; i < size; i++) out[i] = row[i] * embedding_scales_[token];
  }
  if (switches_.embedding_scale != 1.0f)
    for (int i = 0; i < size; i++) out[i] *= switches_.embedding_scale;
}

// y (+)= w * x, where prepare(i, a, row) writes row i of x as row `row` of a. Every thread of the pool
// calls it. Uses two stages.
template <class Prepare>
void Model::product(int stage, const PackedMatrix& w, int count, int thread, Prepare&& prepare,
                    float* y, int stride, bool accumulate) {
  const auto rows_at = [&](size_t row, const Activations* rest) {
    return Activations{quantized_.get() + row * widest_ * kernels_.activation_bytes,
                       scales_.get() + row * parts_, sums_.get() + row * parts_, count, w.is_fine,
                       rest};
  };
  const size_t first = count == 1 ? shape_.max_rows + thread : 0;
  const Activations rest = rows_at(first + shape_.max_rows + shape_.num_threads, nullptr);
  const Activations a = rows_at(first, w.takes_rest ? &rest : nullptr);
  if (count > 1) share(stage, thread, count, [&](int i) { prepare(i, a); });
  bool prepared = count > 1;
  share(stage + 1, thread, w.panels, [&](int panel) {
    // A single row is prepared by each thread for itself: cheaper than waiting for another thread.
    // Only after it has taken a piece: a late thread must not read what later stages write.
    if (!prepared) prepare(0, a);
    prepared = true;
    kernels_.panel_product(w, panel, a, y, stride, accumulate);
    if (w.takes_rest) kernels_.panel_product(w, panel, rest, y, stride, true);
    if (w.bias.empty()) return;
    const int begin = panel * kPanelRows, end = std::min(begin + kPanelRows, w.rows);
    for (int i = 0; i < count; i++)
      for (int row = begin; row < end; row++) y[static_cast<size_t>(i) * stride + row] += w.bias[row];
  });
}

// Norm and rotate the heads that share a key, and store key and value.
void Model::store_keys(float* row, int layer, int kv_head, int slot, int position) {
  const int dim = shape_.head_dim, group = shape_.num_heads / shape_.num_kv_heads;
  const Layer& weights = layers_[layer];
  const size_t angle = (static_cast<size_t>(weights.rope) * shape_.max_length + position) * dim / 2;
  const float *cos = cos_.data() + angle, *sin = sin_.data() + angle;
  const bool norms = switches_.qk_norm == kEachHead, rotated = switches_.qk_norm_rotated;
  const auto turn = [&](float* head, const std::vector<float>& norm) {
    if (norms && !rotated)
      kernels_.norm(head, norm.data(), shape_.rms_norm_eps, dim, false, head);
    kernels_.rotate(head, cos, sin, dim);
    if (norms && rotated) kernels_.norm(head, norm.data(), shape_.rms_norm_eps, dim, false, head);
  };
  for (int h = kv_head * group; h < (kv_head + 1) * group; h++) turn(row + h * dim, weights.q_norm);
  float* key = row + width_ + kv_head * dim;
  turn(key, weights.k_norm);
  const size_t key_at = static_cast<size_t>(position / kLanes) * dim * kLanes + position % kLanes;
  const size_t value_at = static_cast<size_t>(position) * head_dim_;
  kernels_.keep(key, dim, kLanes, shape_.half_cache,
                cached(k_cache_, layer, slot, kv_head) + key_at * kept_bytes());
  kernels_.keep(key + kv_width_, dim, 1, shape_.half_cache,
                cached(v_cache_, layer, slot, kv_head) + value_at * kept_bytes());
}

// Norm, rotate, store keys and values, attend. Uses two stages, and a third where q and k are
// normed over all heads.
void Model::attention(int stage, int thread, int layer, int count, const int32_t* slots,
                      const int32_t* positions) {
  const int dim = shape_.head_dim, kv_heads = shape_.num_kv_heads;
  const int group = shape_.num_heads / kv_heads;
  if (switches_.qk_norm == kAllHeads) {
    const Layer& weights = layers_[layer];
    share(stage + 8, thread, count, [&](int i) {
      float* row = qkv_.get() + static_cast<size_t>(i) * qkv_width_;
      float* key = row + width_;
      const float eps = shape_.rms_norm_eps;
      kernels_.norm(row, weights.q_norm.data(), eps, width_, false, row);
      kernels_.norm(key, weights.k_norm.data(), eps, kv_width_, false, key);
    });
  }
  const auto store = [&](int piece) {
    const int i = piece % count;
    store_keys(qkv_.get() + static_cast<size_t>(i) * qkv_width_, layer, piece / count, slots[i],
               positions[i]);
  };
  if (count > 1) {  // a row may attend to the keys of others
    share(stage, thread, count * kv_heads, store);
  }
  share(stage + 1, thread, count * kv_heads, [&](int piece) {
    if (count == 1) store(piece);
    const int i = piece % count, kv_head = piece / count;
    const size_t head = static_cast<size_t>(kv_head) * group * dim;
    kernels_.attend(qkv_.get() + i * static_cast<size_t>(qkv_width_) + head, group,
                    cached(k_cache_, layer, slots[i], kv_head),
                    cached(v_cache_, layer, slots[i], kv_head), shape_.half_cache,
                    positions[i] + 1, dim, head_dim_, switches_.attention_scale,
                    switches_.attention_softcap, scores_.get() + thread * scores_size(),
                    attended_.get() + i * static_cast<size_t>(width_) + head);
  });
}

void Model::step(int count, const int32_t* tokens, const int32_t* slots, const int32_t* positions,
                 int num_outputs, const int32_t* outputs, const int32_t* drafts,
                 const float* biases, int32_t* next_tokens, float* logits_out) {
  const int hidden = shape_.hidden_size, inner = shape_.intermediate_size;
  for (auto& counter : counters_) {
    counter.next.store(0, std::memory_order_relaxed);
    counter.done.store(0, std::memory_order_relaxed);
  }
  float* logits = logits_out ? logits_out : logits_.get();

  pool_.run([&](int thread) {
    int stage = 0;
    share(stage++, thread, count,
          [&](int i) { embed(tokens[i], hidden_.get() + static_cast<size_t>(i) * hidden); });
    const auto normed = [&](const std::vector<float>& norm, const int32_t* rows) {
      return [this, &norm, rows, hidden](int i, const Activations& a) {
        const float* row = hidden_.get() + static_cast<size_t>(rows ? rows[i] : i) * hidden;
        kernels_.quantize(row, norm.empty() ? nullptr : norm.data(), shape_.rms_norm_eps, hidden,
                          round_up(hidden, kBlock), a, i);
      };
    };
    const auto attended = [&](int i, const Activations& a) {
      kernels_.quantize(attended_.get() + static_cast<size_t>(i) * width_, nullptr, 0.0f, width_,
                        round_up(width_, kBlock), a, i);
    };
    const auto activated = [&](int i, const Activations& a) {
      const float* gate = gate_up_.get() + static_cast<size_t>(i) * 2 * inner;
      float* row = activated_.get() + static_cast<size_t>(thread) * widest_;
      (switches_.gelu ? kernels_.gelu_product : kernels_.silu_product)(gate, gate + inner, row,
                                                                       inner);
      kernels_.quantize(row, nullptr, 0.0f, inner, round_up(inner, kBlock), a, i);
    };
    // A branch is added to the hidden states by its last product, or by the norm after it.
    const bool adds = !switches_.norms_after;
    float* branch = adds ? hidden_.get() : branch_.get();
    const auto add = [&](int own_stage, const std::vector<float>& norm) {
      if (adds) return;
      share(own_stage, thread, count, [&](int i) {
        const size_t at = static_cast<size_t>(i) * hidden;
        kernels_.norm(branch + at, norm.data(), shape_.rms_norm_eps, hidden, true,
                      hidden_.get() + at);
      });
    };
    for (int l = 0; l < shape_.num_layers; l++, stage += stages_per_layer_) {
      const Layer& layer = layers_[l];
      product(stage, layer.qkv, count, thread, normed(layer.attention_norm, nullptr), qkv_.get(),
              qkv_width_, false);
      attention(stage + 2, thread, l, count, slots, positions);
      product(stage + 4, layer.output, count, thread, attended, branch, hidden, adds);
      add(stage + 11, layer.attention_out_norm);
      product(stage + 6, layer.gate_up, count, thread, normed(layer.mlp_norm, nullptr),
              gate_up_.get(), 2 * inner, false);
      product(stage + 8, layer.down, count, thread, activated, branch, hidden, adds);
      add(stage + 12, layer.mlp_out_norm);
    }
    if (num_outputs == 0) return;
    product(stage, head_, num_outputs, thread, normed(norm_, outputs), logits, shape_.vocab_size,
            false);
    share(stage + 2, thread, num_outputs, [&](int i) {
      if (switches_.logit_softcap > 0.0f)
        kernels_.cap(logits + static_cast<size_t>(i) * shape_.vocab_size, switches_.logit_softcap,
                     shape_.vocab_size);
      next_tokens[i] = kernels_.choose(logits + static_cast<size_t>(i) * shape_.vocab_size,
                                       shape_.vocab_size, drafts[i], biases[i]);
    });
  });
}

void Model::copy_slot(int source, int target, int length) {
  // Keys are stored in blocks of 16 positions; what the last block has past `length` is never read.
  const size_t k_bytes =
      static_cast<size_t>(round_up(length, kLanes)) * shape_.head_dim * kept_bytes();
  const size_t v_bytes = static_cast<size_t>(length) * head_dim_ * kept_bytes();
  if (source == target) return;
  for (int l = 0; l < shape_.num_layers; l++)
    for (int h = 0; h < shape_.num_kv_heads; h++) {
      std::memcpy(cached(k_cache_, l, target, h), cached(k_cache_, l, source, h), k_bytes);
      std::memcpy(cached(v_cache_, l, target, h), cached(v_cache_, l, source, h), v_bytes);
    }
}

}  // namespace tokenspeed

using tokenspeed::Kernels;
using tokenspeed::Model;
using tokenspeed::Shape;
using tokenspeed::Switches;

namespace {

void assign(std::vector<float>& norm, const float* values, int size) {
  if (values)
    norm.assign(values, values + size);
  else
    norm.clear();
}

#if defined(__x86_64__)
bool converts_halves() {  // clang's __builtin_cpu_supports does not know it by name everywhere
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

#if defined(__aarch64__)
bool has_dot_product() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return true;  // every 64-bit processor of Apple since 2019 has it
#endif
}
#endif

const Kernels* find_kernels(const char* name) {
  const bool any = !name || !*name;
#if defined(__x86_64__)
  if ((any || !std::strcmp(name, "avx512")) && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return &tokenspeed::kAvx512;
  if ((any || !std::strcmp(name, "avx2")) && __builtin_cpu_supports("avx2") && converts_halves())
    return &tokenspeed::kAvx2;
#endif
#if defined(__aarch64__)
  if ((any || !std::strcmp(name, "neon")) && has_dot_product()) return &tokenspeed::kNeon;
#endif
  return any || !std::strcmp(name, "plain") ? &tokenspeed::kPlain : nullptr;
}

}  // namespace

extern "C" {

Model* tokenspeed_create(const Shape* shape, const char* isa) try {
  const Kernels* kernels = find_kernels(isa);
  return kernels ? new Model(*shape, *kernels) : nullptr;
} catch (const std::exception&) {
  return nullptr;
}

void tokenspeed_destroy(Model* model) { delete model; }

int tokenspeed_shape_bytes() { return sizeof(Shape); }

int tokenspeed_switch_on(Model* model, const Switches* switches) try {
  model->switch_on(*switches);
  return 0;
} catch (const std::exception&) {
  return 1;
}

const char* tokenspeed_isa(const Model* model) { return model->kernels_.name; }

void tokenspeed_set_matrix(Model* model, int layer, int which, const int8_t* weights,
                           const float* scales, int rows, int cols) {
  tokenspeed::PackedMatrix* matrices[] = {
      &model->layers_[layer].qkv, &model->layers_[layer].output, &model->layers_[layer].gate_up,
      &model->layers_[layer].down};
  model->set(*matrices[which], weights, scales, rows, cols);
}

void tokenspeed_set_norms(Model* model, int layer, const float* attention, const float* mlp) {
  const int size = model->shape_.hidden_size;
  assign(model->layers_[layer].attention_norm, attention, size);
  assign(model->layers_[layer].mlp_norm, mlp, size);
}

void tokenspeed_set_more_norms(Model* model, int layer, const float* attention,
                                      const float* mlp, const float* q, const float* k) {
  const Shape& shape = model->shape_;
  const bool all = model->switches_.qk_norm == tokenspeed::kAllHeads;
  tokenspeed::Layer& weights = model->layers_[layer];
  assign(weights.attention_out_norm, attention, shape.hidden_size);
  assign(weights.mlp_out_norm, mlp, shape.hidden_size);
  assign(weights.q_norm, q, shape.head_dim * (all ? shape.num_heads : 1));
  assign(weights.k_norm, k, shape.head_dim * (all ? shape.num_kv_heads : 1));
}

void tokenspeed_set_bias(Model* model, int layer, int which, const float* bias) {
  tokenspeed::Layer& weights = model->layers_[layer];
  tokenspeed::PackedMatrix* matrices[] = {&weights.qkv, &weights.output, &weights.gate_up,
                                          &weights.down};
  assign(matrices[which]->bias, bias, matrices[which]->rows);
}

void tokenspeed_set_rope(Model* model, int layer, int rope) {
  model->layers_[layer].rope = rope;
}

void tokenspeed_set_head(Model* model, const int8_t* weights, const float* scales,
                         const float* norm) {
  const Shape& shape = model->shape_;
  model->set(model->head_, weights, scales, shape.vocab_size, shape.hidden_size);
  model->norm_.assign(norm, norm + shape.hidden_size);
}

void tokenspeed_set_embedding(Model* model, const int8_t* weights, const float* scales) {
  const Shape& shape = model->shape_;
  const size_t size = static_cast<size_t>(shape.vocab_size) * shape.hidden_size;
  model->embedding_.assign(weights, weights + size);
  model->embedding_scales_.assign(scales, scales + shape.vocab_size);
}

void tokenspeed_set_rotation(Model* model, const float* cos, const float* sin) {
  const Shape& shape = model->shape_;
  const size_t size = static_cast<size_t>(model->switches_.num_ropes) * shape.max_length *
                      (shape.head_dim / 2);
  model->cos_.assign(cos, cos + size);
  model->sin_.assign(sin, sin + size);
}

void tokenspeed_step(Model* model, int count, const int32_t* tokens, const int32_t* slots,
                     const int32_t* positions, int num_outputs, const int32_t* outputs,
                     const int32_t* drafts, const float* biases, int32_t* next_tokens,
                     float* logits) {
  model->step(count, tokens, slots, positions, num_outputs, outputs, drafts, biases, next_tokens,
              logits);
}

void tokenspeed_copy_slot(Model* model, int source, int target, int length) {
  model->copy_slot(source, target, length);
}

void tokenspeed_trim() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

int64_t tokenspeed_cache_bytes(const Model* model) {
  return static_cast<int64_t>(2 * model->cache_size());
}

}  // extern "C"

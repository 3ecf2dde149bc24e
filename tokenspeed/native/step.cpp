// A whole ragged LLaMA step in one call: embedding, layers, head, choice of the next tokens.
//
// Knows int8 weights, KV slots and threads; does not know files, Python objects or requests. The C
// functions at the end are its interface (tokenspeed/backends/cpu.py calls them through ctypes).
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace tokenspeed {
namespace {

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Zeroed memory at the start of a cache line. Large ones come from the system page by page, so what
// is set aside for longer sequences costs nothing until they are there.
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

struct OwnedMatrix : Matrix {
  Buffer<int8_t> storage;
  Buffer<float> scale_storage;

  void pack(const int8_t* source, const float* row_scales, int num_rows, int num_cols) {
    rows = num_rows;
    cols = round_up(num_cols, kLanes);
    panels = round_up(num_rows, kPanelRows) / kPanelRows;
    storage = Buffer<int8_t>(static_cast<size_t>(panels) * kPanelRows * cols);
    scale_storage = Buffer<float>(static_cast<size_t>(panels) * kPanelRows);
    data = storage.get();
    scales = scale_storage.get();
    for (int row = 0; row < num_rows; row++) {
      const int8_t* from = source + static_cast<int64_t>(row) * num_cols;
      for (int col = 0; col < num_cols; col++) *at(row, col) = from[col];
      scales[row] = row_scales[row];
    }
  }

  int8_t* at(int row, int col) {
    const int64_t panel = static_cast<int64_t>(row / kPanelRows) * cols * kPanelRows;
    return data + panel + (col / 2) * 2 * kPanelRows + row % kPanelRows * 2 + col % 2;
  }
};

struct Layer {
  OwnedMatrix qkv, output, gate_up, down;
  std::vector<float> attention_norm, mlp_norm;
};

}  // namespace

// Sizes of a model and of what is set aside for it.
struct Shape {
  int32_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim;
  int32_t num_slots, max_length, max_rows, num_threads, tied;
  float rms_norm_eps;
};

class Model {
 public:
  Model(const Shape& shape, const Kernels& kernels)
      : shape_(shape),
        kernels_(kernels),
        layers_(shape.num_layers),
        pool_(shape.num_threads),
        head_dim_(round_up(shape.head_dim, kLanes)),
        width_(shape.num_heads * shape.head_dim),
        kv_width_(shape.num_kv_heads * shape.head_dim),
        qkv_width_(width_ + 2 * kv_width_) {
    const size_t rows = shape.max_rows;
    const int widest = round_up(std::max({shape.hidden_size, shape.intermediate_size, width_}),
                                kLanes);
    k_cache_ = Buffer<float>(cache_size());
    v_cache_ = Buffer<float>(cache_size());
    hidden_ = Buffer<float>(rows * shape.hidden_size);
    qkv_ = Buffer<float>(rows * qkv_width_);
    attended_ = Buffer<float>(rows * width_);
    gate_up_ = Buffer<float>(rows * 2 * shape.intermediate_size);
    logits_ = Buffer<float>(rows * shape.vocab_size);
    widest_ = widest;
    quantized_ = Buffer<int16_t>((rows + shape.num_threads) * widest);
    scales_ = Buffer<float>(rows);
    activated_ = Buffer<float>(static_cast<size_t>(shape.num_threads) * widest);
    scores_ = Buffer<float>(static_cast<size_t>(shape.num_threads) * scores_size());
  }

  size_t cache_size() const {
    return static_cast<size_t>(shape_.num_layers) * shape_.num_slots * shape_.num_kv_heads *
           shape_.max_length * head_dim_;
  }

  void step(int count, const int32_t* tokens, const int32_t* slots, const int32_t* positions,
            int num_outputs, const int32_t* outputs, const int32_t* drafts, const float* biases,
            int32_t* next_tokens, float* logits_out);

  void copy_slot(int source, int target, int length);

  Shape shape_;
  const Kernels& kernels_;
  std::vector<Layer> layers_;
  OwnedMatrix head_;
  std::vector<int8_t> embedding_;  // [vocab_size, hidden_size], empty when tied
  std::vector<float> embedding_scales_, norm_, cos_, sin_;

 private:
  // Counter from which the threads of one stage take pieces of work; a thread whose core is taken
  // away holds up only the piece that it has.
  struct alignas(64) Counter {
    std::atomic<int> next{0};
  };

  template <class Work>
  void share(Counter& counter, int pieces, Work&& work) {
    for (int i; (i = counter.next.fetch_add(1, std::memory_order_relaxed)) < pieces;) work(i);
  }

  void embed(int token, float* out);
  template <class Prepare>
  void product(Counter* counters, const OwnedMatrix& w, int count, int thread, Prepare&& prepare,
               float* y, int stride, bool accumulate);
  void attention(Counter* counters, int layer, int count, const int32_t* slots,
                 const int32_t* positions, float* scores);

  float* cached(float* cache, int layer, int slot, int head, int position) const {
    const size_t row = (static_cast<size_t>(layer) * shape_.num_slots + slot) *
                           shape_.num_kv_heads + head;
    return cache + (row * shape_.max_length + position) * head_dim_;
  }

  size_t scores_size() const { return round_up(shape_.max_length, kLanes) + kLanes; }

  Pool pool_;
  const int head_dim_;  // padded
  const int width_, kv_width_, qkv_width_;
  Buffer<float> k_cache_, v_cache_;  // [layer, slot, kv head, position, head_dim_]
  Buffer<float> hidden_, qkv_, attended_, gate_up_, logits_, scales_, scores_, activated_;
  int widest_ = 0;
  Buffer<int16_t> quantized_;
  std::vector<Counter> counters_;
};

void Model::embed(int token, float* out) {
  const int size = shape_.hidden_size;
  if (shape_.tied) {
    const float scale = head_.scales[token];
    for (int i = 0; i < size; i++) out[i] = *head_.at(token, i) * scale;
  } else {
    const int8_t* row = embedding_.data() + static_cast<size_t>(token) * size;
    for (int i = 0; i < size; i++) out[i] = row[i] * embedding_scales_[token];
  }
}

// y (+)= w * x, where prepare(i, q) writes row i of x as int16 and returns its scale. Every thread of
// the pool calls it. Uses two counters.
template <class Prepare>
void Model::product(Counter* counters, const OwnedMatrix& w, int count, int thread,
                    Prepare&& prepare, float* y, int stride, bool accumulate) {
  const int16_t* data = quantized_.get();
  const float* scales = scales_.get();
  float own_scale;
  if (count == 1) {  // each thread for itself: cheaper than waiting for another one
    int16_t* own = quantized_.get() + static_cast<size_t>(shape_.max_rows + thread) * widest_;
    own_scale = prepare(0, own);
    data = own;
    scales = &own_scale;
  } else {
    share(counters[0], count, [&](int i) {
      scales_.get()[i] = prepare(i, quantized_.get() + static_cast<size_t>(i) * w.cols);
    });
    pool_.barrier();
  }
  const Activations a{data, scales, count};
  share(counters[1], w.panels,
        [&](int panel) { kernels_.panel_product(w, panel, a, y, stride, accumulate); });
  pool_.barrier();
}

// Rotate, store keys and values, attend. Uses two counters.
void Model::attention(Counter* counters, int layer, int count, const int32_t* slots,
                      const int32_t* positions, float* scores) {
  const int dim = shape_.head_dim, half = dim / 2;
  share(counters[0], count, [&](int i) {
    float* row = qkv_.get() + static_cast<size_t>(i) * qkv_width_;
    const float* cos = cos_.data() + static_cast<size_t>(positions[i]) * half;
    const float* sin = sin_.data() + static_cast<size_t>(positions[i]) * half;
    for (int h = 0; h < shape_.num_heads + shape_.num_kv_heads; h++)
      kernels_.rotate(row + h * dim, cos, sin, dim);
    for (int h = 0; h < shape_.num_kv_heads; h++) {
      std::memcpy(cached(k_cache_.get(), layer, slots[i], h, positions[i]),
                  row + width_ + h * dim, dim * sizeof(float));
      std::memcpy(cached(v_cache_.get(), layer, slots[i], h, positions[i]),
                  row + width_ + kv_width_ + h * dim, dim * sizeof(float));
    }
  });
  pool_.barrier();
  const int group = shape_.num_heads / shape_.num_kv_heads;
  share(counters[1], count * shape_.num_kv_heads, [&](int piece) {
    const int i = piece / shape_.num_kv_heads, kv_head = piece % shape_.num_kv_heads;
    const float* k = cached(k_cache_.get(), layer, slots[i], kv_head, 0);
    const float* v = cached(v_cache_.get(), layer, slots[i], kv_head, 0);
    for (int h = kv_head * group; h < (kv_head + 1) * group; h++)
      kernels_.attend(qkv_.get() + static_cast<size_t>(i) * qkv_width_ + h * dim, k, v,
                      positions[i] + 1, dim, head_dim_, scores,
                      attended_.get() + static_cast<size_t>(i) * width_ + h * dim);
  });
  pool_.barrier();
}

void Model::step(int count, const int32_t* tokens, const int32_t* slots, const int32_t* positions,
                 int num_outputs, const int32_t* outputs, const int32_t* drafts,
                 const float* biases, int32_t* next_tokens, float* logits_out) {
  constexpr int kCountersPerLayer = 10;
  const int hidden = shape_.hidden_size, inner = shape_.intermediate_size;
  if (counters_.empty())
    counters_ = std::vector<Counter>(static_cast<size_t>(shape_.num_layers) * kCountersPerLayer + 4);
  for (auto& counter : counters_) counter.next.store(0, std::memory_order_relaxed);
  float* logits = logits_out ? logits_out : logits_.get();

  pool_.run([&](int thread) {
    Counter* counter = counters_.data();
    float* scores = scores_.get() + thread * scores_size();
    share(*counter++, count,
          [&](int i) { embed(tokens[i], hidden_.get() + static_cast<size_t>(i) * hidden); });
    pool_.barrier();
    const auto normed = [&](const float* norm, const int32_t* rows) {
      return [this, norm, rows, hidden](int i, int16_t* q) {
        const float* row = hidden_.get() + static_cast<size_t>(rows ? rows[i] : i) * hidden;
        return kernels_.quantize(row, norm, shape_.rms_norm_eps, hidden,
                                 round_up(hidden, kLanes), q);
      };
    };
    const auto attended = [&](int i, int16_t* q) {
      return kernels_.quantize(attended_.get() + static_cast<size_t>(i) * width_, nullptr, 0.0f,
                               width_, round_up(width_, kLanes), q);
    };
    const auto activated = [&](int i, int16_t* q) {
      const float* gate = gate_up_.get() + static_cast<size_t>(i) * 2 * inner;
      float* row = activated_.get() + static_cast<size_t>(thread) * widest_;
      kernels_.silu_product(gate, gate + inner, row, inner);
      return kernels_.quantize(row, nullptr, 0.0f, inner, round_up(inner, kLanes), q);
    };
    for (int l = 0; l < shape_.num_layers; l++, counter += kCountersPerLayer) {
      const Layer& layer = layers_[l];
      product(counter, layer.qkv, count, thread, normed(layer.attention_norm.data(), nullptr),
              qkv_.get(), qkv_width_, false);
      attention(counter + 2, l, count, slots, positions, scores);
      product(counter + 4, layer.output, count, thread, attended, hidden_.get(), hidden, true);
      product(counter + 6, layer.gate_up, count, thread, normed(layer.mlp_norm.data(), nullptr),
              gate_up_.get(), 2 * inner, false);
      product(counter + 8, layer.down, count, thread, activated, hidden_.get(), hidden, true);
    }
    if (num_outputs == 0) return;
    product(counter, head_, num_outputs, thread, normed(norm_.data(), outputs), logits,
            shape_.vocab_size, false);
    share(counter[2], num_outputs, [&](int i) {
      next_tokens[i] = kernels_.choose(logits + static_cast<size_t>(i) * shape_.vocab_size,
                                       shape_.vocab_size, drafts[i], biases[i]);
    });
  });
}

void Model::copy_slot(int source, int target, int length) {
  const size_t bytes = static_cast<size_t>(length) * head_dim_ * sizeof(float);
  for (int l = 0; l < shape_.num_layers; l++)
    for (int h = 0; h < shape_.num_kv_heads; h++)
      for (float* cache : {k_cache_.get(), v_cache_.get()})
        std::memcpy(cached(cache, l, target, h, 0), cached(cache, l, source, h, 0), bytes);
}

}  // namespace tokenspeed

using tokenspeed::Kernels;
using tokenspeed::Model;
using tokenspeed::Shape;

namespace {

const Kernels* find_kernels(const char* name) {
  const bool any = !name || !*name;
#if defined(__x86_64__)
  if ((any || !std::strcmp(name, "avx512")) && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return &tokenspeed::kAvx512;
  if ((any || !std::strcmp(name, "avx2")) && __builtin_cpu_supports("avx2"))
    return &tokenspeed::kAvx2;
#endif
  return any || !std::strcmp(name, "plain") ? &tokenspeed::kPlain : nullptr;
}

}  // namespace

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

extern "C" {

// Returns nullptr where memory or the asked instruction set is not to be had. `isa` may be empty.
EXPORT Model* tokenspeed_create(const Shape* shape, const char* isa) try {
  const Kernels* kernels = find_kernels(isa);
  return kernels ? new Model(*shape, *kernels) : nullptr;
} catch (const std::exception&) {
  return nullptr;
}

EXPORT void tokenspeed_destroy(Model* model) { delete model; }

EXPORT const char* tokenspeed_isa(const Model* model) { return model->kernels_.name; }

// which: 0 qkv, 1 output, 2 gate and up, 3 down. weights: [rows, cols]; scales: [rows].
EXPORT void tokenspeed_set_matrix(Model* model, int layer, int which, const int8_t* weights,
                           const float* scales, int rows, int cols) {
  tokenspeed::OwnedMatrix* matrices[] = {
      &model->layers_[layer].qkv, &model->layers_[layer].output, &model->layers_[layer].gate_up,
      &model->layers_[layer].down};
  matrices[which]->pack(weights, scales, rows, cols);
}

EXPORT void tokenspeed_set_norms(Model* model, int layer, const float* attention, const float* mlp) {
  const int size = model->shape_.hidden_size;
  model->layers_[layer].attention_norm.assign(attention, attention + size);
  model->layers_[layer].mlp_norm.assign(mlp, mlp + size);
}

EXPORT void tokenspeed_set_head(Model* model, const int8_t* weights, const float* scales,
                         const float* norm) {
  const Shape& shape = model->shape_;
  model->head_.pack(weights, scales, shape.vocab_size, shape.hidden_size);
  model->norm_.assign(norm, norm + shape.hidden_size);
}

EXPORT void tokenspeed_set_embedding(Model* model, const int8_t* weights, const float* scales) {
  const Shape& shape = model->shape_;
  const size_t size = static_cast<size_t>(shape.vocab_size) * shape.hidden_size;
  model->embedding_.assign(weights, weights + size);
  model->embedding_scales_.assign(scales, scales + shape.vocab_size);
}

// cos, sin: [max_length, head_dim / 2].
EXPORT void tokenspeed_set_rotation(Model* model, const float* cos, const float* sin) {
  const size_t size =
      static_cast<size_t>(model->shape_.max_length) * model->shape_.head_dim / 2;
  model->cos_.assign(cos, cos + size);
  model->sin_.assign(sin, sin + size);
}

// logits: nullptr, or [num_outputs, vocab_size].
EXPORT void tokenspeed_step(Model* model, int count, const int32_t* tokens, const int32_t* slots,
                     const int32_t* positions, int num_outputs, const int32_t* outputs,
                     const int32_t* drafts, const float* biases, int32_t* next_tokens,
                     float* logits) {
  model->step(count, tokens, slots, positions, num_outputs, outputs, drafts, biases, next_tokens,
              logits);
}

EXPORT void tokenspeed_copy_slot(Model* model, int source, int target, int length) {
  model->copy_slot(source, target, length);
}

EXPORT int64_t tokenspeed_cache_bytes(const Model* model) {
  return static_cast<int64_t>(2 * model->cache_size() * sizeof(float));
}

}  // extern "C"

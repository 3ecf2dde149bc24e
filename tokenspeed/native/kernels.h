// The arithmetic of a step, compiled once for each instruction set and chosen at run time.
//
// Every kernel works on rows: what it writes for a row depends on that row alone and is computed in
// one fixed order. Products are summed as exact integers within blocks of columns, and floating
// point is never contracted to fused multiply-add, so all instruction sets give the same bits.
#pragma once
#include <cstdint>

namespace tokenspeed {

constexpr int kPanelRows = 32;  // weight rows that lie side by side in memory
constexpr int kLanes = 16;      // floats handled together; sizes of vectors are padded to this
// Columns that share one scale of an activation row, and of a weight row in int4. Their products
// sum to less than 64 * 127 * (255 + 128) < 2^22, so that int32 and float32 hold them exactly.
// In a fine matrix an activation row has a scale for each half of a block.
constexpr int kBlock = 64;

// The bits of a float16, in which keys and values may be cached. Sums over them are float32.
typedef uint16_t Half;
constexpr int kHeadsTogether = 4;  // at most: queries that one walk over cached keys serves

// A weight matrix [rows, cols], laid out for streaming: data[panel][column group][32 rows][group],
// padded with zeros to whole panels and blocks. In int4 a byte holds row r (low) and r + 16 (high)
// of its panel. Values are stored with the offset that the instructions need.
struct Matrix {
  int rows = 0;
  int cols = 0;  // padded to kBlock
  int panels = 0;
  int bits = 8;
  bool is_fine = false;  // int8 with scales for blocks
  uint8_t* data = nullptr;
  float* scales = nullptr;  // int8: [panels * 32]; int4 and fine: [panels, blocks, 32]

  int64_t panel_bytes() const { return static_cast<int64_t>(cols) * kPanelRows * bits / 8; }
  int num_blocks() const { return cols / kBlock; }
};

// Activations as small integers, with one scale and one sum for each block of a row, or half of it.
struct Activations {
  void* data;     // [count, cols], int8 or int16, as the kernels' multiplication needs it
  float* scales;  // [count, blocks or halves]
  int32_t* sums;  // [count, blocks or halves]: they cancel the offset of the weights
  int count;
  bool is_fine;  // in halves
  // The same for the rounding error of each value, in 1/254 of its step; or nullptr.
  const Activations* rest;
};

struct Kernels {
  const char* name;
  int group;             // columns that one multiplication sums: 2 or 4
  int activation_bytes;  // of one activation
  int offset8;           // added to int8 weights in memory; for int4 it is always 8

  // y[i, row] (+)= sum_k w[row, k] * a[i, k], for the rows of one panel and all activation rows.
  // y is [count, stride]; entries past matrix.rows are not touched.
  void (*panel_product)(const Matrix& w, int panel, const Activations& a, float* y, int stride,
                        bool accumulate);

  // Round x to integers in row i of `a`, and the rounding errors in its `rest` if it has one; with
  // `norm`, x is RMS-normalised first. cols: padded size.
  void (*quantize)(const float* x, const float* norm, float eps, int size, int cols,
                   const Activations& a, int i);

  // Rotate one head in place. cos, sin: [head_dim / 2].
  void (*rotate)(float* head, const float* cos, const float* sin, int head_dim);

  // Store a key or a value: x[i] at out[i * stride], as it is or as float16, rounded to nearest even
  // and clamped to the largest.
  void (*keep)(const float* x, int size, int stride, bool as_halves, void* out);

  // Attend over `length` positions with `heads` queries that share keys and values. q, out:
  // [heads, head_dim]; k: [length / 16, head_dim, 16], so that 16 scores are summed side by side;
  // v: [length, padded_dim], both as `keep` stored them; scores: scratch, [kHeadsTogether, padded
  // length]. Scores are scaled, and capped to softcap * tanh(score / softcap) where that is not 0.
  void (*attend)(const float* q, int heads, const void* k, const void* v, bool as_halves, int length,
                 int head_dim, int padded_dim, float scale, float softcap, float* scores, float* out);

  // out = silu(gate) * up, or gelu(gate) * up with the approximation by tanh.
  void (*silu_product)(const float* gate, const float* up, float* out, int size);
  void (*gelu_product)(const float* gate, const float* up, float* out, int size);

  // out = x / rms(x) * weight, or out += that if `adds`. x may be out.
  void (*norm)(const float* x, const float* weight, float eps, int size, bool adds, float* out);

  // x = softcap * tanh(x / softcap).
  void (*cap)(float* x, float softcap, int size);

  // Next token of a row: the lowest id of the largest logit, or the draft where its probability is
  // within bias / (1 - bias) of the largest.
  int (*choose)(const float* logits, int vocab, int draft, float bias);
};

extern const Kernels kPlain;
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#elif defined(__aarch64__)
extern const Kernels kNeon;
#endif

}  // namespace tokenspeed

// The arithmetic of a step, compiled once for each instruction set and chosen at run time.
//
// Every kernel works on rows: what it writes for a row depends on that row alone and is computed in
// one fixed order. Sums of products are exact integers, and floating point is never contracted to
// fused multiply-add, so all instruction sets give the same bits.
#pragma once
#include <cstdint>

namespace tokenspeed {

constexpr int kPanelRows = 64;  // weight rows that lie side by side in memory
constexpr int kLanes = 16;      // floats handled together; sizes of vectors are padded to this
constexpr int kBlock = 512;     // products summed in int32: 512 * 127 * 32767 < 2^31

// A weight matrix [rows, cols] in int8 with one scale a row, laid out for streaming:
// data[panel][column pair][64 rows][2 columns], padded with zeros to whole panels and pairs.
struct Matrix {
  int rows = 0;
  int cols = 0;  // padded to kLanes
  int panels = 0;
  int8_t* data = nullptr;
  float* scales = nullptr;  // [panels * 64]
};

// Activations as int16 with one scale a row.
struct Activations {
  const int16_t* data;  // [count, cols]
  const float* scales;  // [count]
  int count;
};

struct Kernels {
  const char* name;

  // y[i, row] (+)= sum_k w[row, k] * a[i, k], for the rows of one panel and all activation rows.
  // y is [count, stride]; entries past matrix.rows are not touched.
  void (*panel_product)(const Matrix& w, int panel, const Activations& a, float* y, int stride,
                        bool accumulate);

  // Round a row to int16; with `norm` it is RMS-normalised first. Returns its scale.
  float (*quantize)(const float* x, const float* norm, float eps, int size, int padded,
                    int16_t* q);

  // Rotate one head in place. cos, sin: [head_dim / 2].
  void (*rotate)(float* head, const float* cos, const float* sin, int head_dim);

  // Attend over `length` positions. k, v: [length, padded_dim]; scores: scratch, padded length.
  void (*attend)(const float* q, const float* k, const float* v, int length, int head_dim,
                 int padded_dim, float* scores, float* out);

  // out = silu(gate) * up.
  void (*silu_product)(const float* gate, const float* up, float* out, int size);

  // Next token of a row: the lowest id of the largest logit, or the draft where its probability is
  // within bias / (1 - bias) of the largest.
  int (*choose)(const float* logits, int vocab, int draft, float bias);
};

extern const Kernels kPlain;
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#endif

}  // namespace tokenspeed

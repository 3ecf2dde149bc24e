// The C interface of step.cpp: what tokenspeed/backends/cpu.py calls through ctypes, and programs in
// C++ that run steps by themselves.
#pragma once

#include <cstdint>

namespace tokenspeed {

// Sizes of a model and of what is set aside for it.
struct Shape {
  int32_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim;
  int32_t num_slots, max_length, max_rows, num_threads, tied, bits;
  float rms_norm_eps;
  int32_t head_bits;  // of the head, and so of a tied embedding
  // Whether int8 has scales for blocks, activations for halves of one, and those of q, k and v, which
  // matter most, twice the bits.
  int32_t fine;
  int32_t half_cache;  // whether keys and values are kept in float16
};

enum NormOfHeads { kNoNorm, kEachHead, kAllHeads };

// Where a model differs from LLaMA; see ModelConfig.
struct Switches {
  int32_t qk_norm = kNoNorm, qk_norm_rotated = 0, gelu = 0, norms_after = 0, num_ropes = 1;
  float attention_scale = 0.0f, attention_softcap = 0.0f, logit_softcap = 0.0f;
  float embedding_scale = 1.0f;
};

class Model;

}  // namespace tokenspeed

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

extern "C" {

// Returns nullptr if memory or the requested instruction set is not available. `isa` may be empty.
EXPORT tokenspeed::Model* tokenspeed_create(const tokenspeed::Shape* shape, const char* isa);

EXPORT void tokenspeed_destroy(tokenspeed::Model* model);

// For the caller to compare with its own structure: a difference means another version.
EXPORT int tokenspeed_shape_bytes();

// Call before weights are set. Returns 0, or 1 if memory is not available.
EXPORT int tokenspeed_switch_on(tokenspeed::Model* model, const tokenspeed::Switches* switches);

EXPORT const char* tokenspeed_isa(const tokenspeed::Model* model);

// which: 0 qkv, 1 output, 2 gate and up, 3 down. weights: [rows, cols]; scales: [rows].
EXPORT void tokenspeed_set_matrix(tokenspeed::Model* model, int layer, int which,
                                  const int8_t* weights, const float* scales, int rows, int cols);

// The norms before attention and MLP; nullptr: there is none.
EXPORT void tokenspeed_set_norms(tokenspeed::Model* model, int layer, const float* attention,
                                 const float* mlp);

// The norms after attention and MLP, and those of q and k; nullptr: there is none.
EXPORT void tokenspeed_set_more_norms(tokenspeed::Model* model, int layer, const float* attention,
                                      const float* mlp, const float* q, const float* k);

// which: as in tokenspeed_set_matrix. bias: [rows of the matrix].
EXPORT void tokenspeed_set_bias(tokenspeed::Model* model, int layer, int which, const float* bias);

// rope: which of the rotations the layer takes.
EXPORT void tokenspeed_set_rope(tokenspeed::Model* model, int layer, int rope);

EXPORT void tokenspeed_set_head(tokenspeed::Model* model, const int8_t* weights,
                                const float* scales, const float* norm);

EXPORT void tokenspeed_set_embedding(tokenspeed::Model* model, const int8_t* weights,
                                     const float* scales);

// cos, sin: [ropes, max_length, head_dim / 2].
EXPORT void tokenspeed_set_rotation(tokenspeed::Model* model, const float* cos, const float* sin);

// logits: nullptr, or [num_outputs, vocab_size].
EXPORT void tokenspeed_step(tokenspeed::Model* model, int count, const int32_t* tokens,
                            const int32_t* slots, const int32_t* positions, int num_outputs,
                            const int32_t* outputs, const int32_t* drafts, const float* biases,
                            int32_t* next_tokens, float* logits);

EXPORT void tokenspeed_copy_slot(tokenspeed::Model* model, int source, int target, int length);

// Return memory that loading needed temporarily to the system.
EXPORT void tokenspeed_trim();

EXPORT int64_t tokenspeed_cache_bytes(const tokenspeed::Model* model);

}  // extern "C"

// One step of a random model of a given shape, for instruction counts and profiles: the weights are
// made here, so that nothing else runs under the instrument.
//
// step ISA BITS[fine|half] STREAMS ROWS POSITION REPEATS vocab hidden intermediate layers heads kv_heads head_dim
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "step.h"

using tokenspeed::Model;
using tokenspeed::Shape;

int main(int argc, char** argv) {
  if (argc != 14) return 2;
  const auto number = [&](int i) { return std::atoi(argv[i]); };
  const int bits = number(2), streams = number(3), rows = number(4), position = number(5);
  const int total = streams * rows, length = position + rows;
  const Shape shape{number(7), number(8), number(9), number(10), number(11), number(12), number(13),
                    streams,   length,    total,     1,          1,          bits,       1e-5f,
                    bits,      argv[2][1] == 'f', argv[2][1] == 'h'};
  Model* model = tokenspeed_create(&shape, argv[1]);
  if (!model) return 3;

  const int width = shape.num_heads * shape.head_dim, kv = shape.num_kv_heads * shape.head_dim;
  const int hidden = shape.hidden_size, inner = shape.intermediate_size;
  const int heights[] = {width + 2 * kv, hidden, 2 * inner, hidden};
  const int widths[] = {hidden, width, hidden, inner};
  size_t most = static_cast<size_t>(shape.vocab_size) * hidden;
  for (int i = 0; i < 4; i++) most = std::max(most, static_cast<size_t>(heights[i]) * widths[i]);
  std::vector<int8_t> weights(most + 64 * shape.num_layers);
  uint32_t state = 1;
  for (auto& weight : weights) {
    state = state * 1664525u + 1013904223u;
    weight = static_cast<int8_t>(static_cast<int8_t>(state >> 24) >> (8 - bits));
  }
  const std::vector<float> scales(most / 32, bits == 8 ? 4e-4f : 6e-3f);
  const std::vector<float> ones(hidden, 1.0f);
  const std::vector<float> angles(static_cast<size_t>(length) * shape.head_dim / 2, 0.7f);
  for (int layer = 0; layer < shape.num_layers; layer++) {
    for (int i = 0; i < 4; i++)
      tokenspeed_set_matrix(model, layer, i, weights.data() + 64 * layer, scales.data(), heights[i],
                            widths[i]);
    tokenspeed_set_norms(model, layer, ones.data(), ones.data());
  }
  tokenspeed_set_head(model, weights.data(), scales.data(), ones.data());
  tokenspeed_set_rotation(model, angles.data(), angles.data());

  std::vector<int32_t> tokens, slots, positions, outputs;
  for (int slot = 0; slot < streams; slot++)
    for (int i = 0; i < rows; i++) {
      tokens.push_back(static_cast<int>((tokens.size() * 7919 + 5) % shape.vocab_size));
      slots.push_back(slot);
      positions.push_back(position + i);
      // A prompt wants its last row, a draft all of them, a decoded token its own.
      if (position > 0 || i == rows - 1) outputs.push_back(static_cast<int>(tokens.size()) - 1);
    }
  const std::vector<int32_t> drafts(outputs.size(), -1);
  const std::vector<float> biases(outputs.size(), 0.0f);
  std::vector<int32_t> next(outputs.size());
  for (int i = 0; i < number(6); i++)
    tokenspeed_step(model, total, tokens.data(), slots.data(), positions.data(),
                    static_cast<int>(outputs.size()), outputs.data(), drafts.data(), biases.data(),
                    next.data(), nullptr);
  std::printf("%d\n", next[0]);
  tokenspeed_destroy(model);
}

// Runs steps of a small random model, for the sanitizers: every kernel, odd sizes, several threads.
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "kernels.h"
#include "step.h"

using tokenspeed::Model;
using tokenspeed::Shape;
using tokenspeed::Switches;

namespace {

const tokenspeed::Kernels& kernels_of(const std::string& isa) {
#if defined(__x86_64__)
  if (isa == "avx512") return tokenspeed::kAvx512;
  if (isa == "avx2") return tokenspeed::kAvx2;
#elif defined(__aarch64__)
  if (isa == "neon") return tokenspeed::kNeon;
#endif
  return tokenspeed::kPlain;
}

// Float32 from the standard input; to its output as float16, and what attention reads of these: over
// one position that is the value itself.
int convert_halves(const std::string& isa) {
  const tokenspeed::Kernels& kernels = kernels_of(isa);
  std::vector<float> values;
  for (float value; std::fread(&value, sizeof value, 1, stdin) == 1;) values.push_back(value);
  const int size = static_cast<int>(values.size());
  const int padded = (size + tokenspeed::kLanes - 1) / tokenspeed::kLanes * tokenspeed::kLanes;
  std::vector<tokenspeed::Half> halves(padded), keys(static_cast<size_t>(size) * tokenspeed::kLanes);
  kernels.keep(values.data(), size, 1, true, halves.data());
  std::vector<float> read(size), scores(tokenspeed::kLanes);
  const std::vector<float> q(size);
  kernels.attend(q.data(), 1, keys.data(), halves.data(), true, 1, size, padded, 1.0f, 0.0f,
                 scores.data(), read.data());
  std::fwrite(halves.data(), sizeof halves[0], size, stdout);
  std::fwrite(read.data(), sizeof read[0], size, stdout);
  return 0;
}

}  // namespace

// driver ISA [tied] [fine] [half] [heads | width]: the last with all switches of a model on.
// driver ISA halves: see convert_halves.
int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[2]) == "halves") return convert_halves(argv[1]);
  std::string how;
  bool tied = false, fine = false, half = false;
  for (int i = 2; i < argc; i++) {
    if (std::string(argv[i]) == "tied") tied = true;
    else if (std::string(argv[i]) == "fine") fine = true;
    else if (std::string(argv[i]) == "half") half = true;
    else how = argv[i];
  }
  // head_dim 12 and the other sizes are no multiples of a vector.
  const Shape shape{101, 40, 70, 2, 4, 2, 12, 3, 24, 9, 2, tied, 8, 1e-5f, 8, fine, half};
  Model* model = tokenspeed_create(&shape, argc > 1 ? argv[1] : "");
  if (!model) return 3;
  const bool all = how == "width";
  const Switches switches{all ? 2 : 1, !all, 1, 1, 2, 0.2f, 5.0f, 3.0f, 6.0f};
  if (!how.empty() && tokenspeed_switch_on(model, &switches)) return 3;
  std::mt19937 random(1);
  const auto bytes = [&](int count) {
    std::vector<int8_t> out(count);
    for (auto& value : out) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    return out;
  };
  const std::vector<float> ones(256, 1.0f), scales(512, 0.01f), angles(2 * 24 * 6, 0.7f);
  const int width = 48, kv = 24;
  const int rows[] = {width + 2 * kv, 40, 140, 40}, cols[] = {40, width, 40, 70};
  for (int layer = 0; layer < shape.num_layers; layer++) {
    for (int which = 0; which < 4; which++)
      tokenspeed_set_matrix(model, layer, which, bytes(rows[which] * cols[which]).data(),
                            scales.data(), rows[which], cols[which]);
    const float* ones_before = all ? nullptr : ones.data();
    tokenspeed_set_norms(model, layer, ones_before, ones_before);
    if (how.empty()) continue;
    tokenspeed_set_more_norms(model, layer, ones.data(), ones.data(), ones.data(), ones.data());
    for (int which = 0; which < 4; which++)
      tokenspeed_set_bias(model, layer, which, scales.data());
    tokenspeed_set_rope(model, layer, layer % 2);
  }
  tokenspeed_set_head(model, bytes(101 * 40).data(), scales.data(), ones.data());
  if (!shape.tied) tokenspeed_set_embedding(model, bytes(101 * 40).data(), scales.data());
  tokenspeed_set_rotation(model, angles.data(), angles.data());

  int64_t sum = 0;
  std::vector<int32_t> position(shape.num_slots, 0);
  for (int step = 0; step < 40; step++) {
    std::vector<int32_t> tokens, slots, positions, outputs, drafts;
    std::vector<float> biases;
    for (int slot = 0; slot < shape.num_slots; slot++) {
      const int count = static_cast<int>(random() % 4);
      for (int i = 0; i < count && position[slot] < shape.max_length; i++) {
        tokens.push_back(static_cast<int>(random() % 101));
        slots.push_back(slot);
        positions.push_back(position[slot]++);
        if (random() % 2) continue;
        outputs.push_back(static_cast<int>(tokens.size()) - 1);
        drafts.push_back(static_cast<int>(random() % 103) - 1);
        biases.push_back(random() % 2 ? 0.3f : 0.0f);
      }
      if (position[slot] == shape.max_length) position[slot] = 0;
    }
    if (tokens.empty()) continue;
    std::vector<int32_t> next(outputs.size());
    tokenspeed_step(model, static_cast<int>(tokens.size()), tokens.data(), slots.data(),
                    positions.data(), static_cast<int>(outputs.size()), outputs.data(),
                    drafts.data(), biases.data(), next.data(), nullptr);
    for (const int32_t token : next) {
      if (token < 0 || token >= 101) return 4;
      sum += token;
    }
    tokenspeed_copy_slot(model, 0, 1, 0);
  }
  tokenspeed_destroy(model);
  std::printf("%lld\n", static_cast<long long>(sum));
  return 0;
}

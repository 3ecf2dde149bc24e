// The kernels of kernels.h for one instruction set: compiled with -DTOKENSPEED_ISA=plain|avx2|avx512
// and the matching -m flags. Includes no standard templates, whose inline copies could be shared
// with code that must run on older processors.
#include "kernels.h"

#define ISA_plain 0
#define ISA_avx2 1
#define ISA_avx512 2
#define CONCAT(a, b) a##b
#define ISA_NUMBER(name) CONCAT(ISA_, name)
#define ISA ISA_NUMBER(TOKENSPEED_ISA)

#if ISA != ISA_plain
#include <immintrin.h>
#endif

namespace tokenspeed {
namespace {

// GCC and clang split these vectors into what the instruction set has.
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef float LooseFloats __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline Floats load(const float* p) { return *reinterpret_cast<const LooseFloats*>(p); }
inline void store(float* p, Floats v) { *reinterpret_cast<LooseFloats*>(p) = v; }
inline Floats splat(float x) { return x - Floats{}; }
inline Floats max(Floats a, Floats b) { return a > b ? a : b; }
inline Floats min(Floats a, Floats b) { return a < b ? a : b; }

inline float sum(Floats v) {
  float a[8], b[4];
  for (int i = 0; i < 8; i++) a[i] = v[i] + v[i + 8];
  for (int i = 0; i < 4; i++) b[i] = a[i] + a[i + 4];
  return (b[0] + b[2]) + (b[1] + b[3]);
}

inline float largest(Floats v) {
  float m = v[0];
  for (int i = 1; i < kLanes; i++) m = v[i] > m ? v[i] : m;
  return m;
}

inline Floats round_even(Floats x) {
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it leaves no room for a fraction
  return (x + magic) - magic;
}

// exp with a relative error near 2e-7; arguments are clamped to where the result is normal.
// Cephes' polynomial: 2^n * e^r, |r| <= ln(2) / 2.
inline Floats exp(Floats x) {
  x = min(max(x, splat(-87.0f)), splat(88.0f));
  const Floats n = round_even(x * 1.44269504f);
  Floats r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
  return p * reinterpret_cast<const Floats&>(power);
}

// ---- integer products: Tile<T> sums one panel's 64 rows for T activation rows ----

#if ISA == ISA_avx512

template <int T>
inline void multiply(const int8_t* w, const int16_t* const* a, int first, int last, Ints* sums) {
  __m512i acc[T][4];
  for (int t = 0; t < T; t++)
    for (int g = 0; g < 4; g++) acc[t][g] = _mm512_setzero_si512();
  for (int k = first; k < last; k += 2) {
    const int8_t* at = w + static_cast<int64_t>(k) * kPanelRows;
    __builtin_prefetch(at + 2048);
    __builtin_prefetch(at + 2048 + 64);
    __m512i rows[4];
    for (int g = 0; g < 4; g++)
      rows[g] = _mm512_cvtepi8_epi16(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32 * g)));
    for (int t = 0; t < T; t++) {
      int32_t pair;
      __builtin_memcpy(&pair, a[t] + k, sizeof pair);
      const __m512i both = _mm512_set1_epi32(pair);
      for (int g = 0; g < 4; g++) acc[t][g] = _mm512_dpwssd_epi32(acc[t][g], rows[g], both);
    }
  }
  for (int t = 0; t < T; t++)
    for (int g = 0; g < 4; g++) sums[t * 4 + g] = reinterpret_cast<Ints&>(acc[t][g]);
}
constexpr int kTile = 6;  // 24 of 32 registers hold sums

#elif ISA == ISA_avx2

template <int T>
inline void multiply(const int8_t* w, const int16_t* const* a, int first, int last, Ints* sums) {
  // Sixteen registers: half a panel's quarter at a time, for up to three activation rows.
  for (int half = 0; half < 2; half++) {
    __m256i acc[T][4];
    for (int t = 0; t < T; t++)
      for (int g = 0; g < 4; g++) acc[t][g] = _mm256_setzero_si256();
    for (int k = first; k < last; k += 2) {
      const int8_t* at = w + static_cast<int64_t>(k) * kPanelRows + 64 * half;
      __builtin_prefetch(at + 4096);
      __m256i both[T];
      for (int t = 0; t < T; t++) {
        int32_t pair;
        __builtin_memcpy(&pair, a[t] + k, sizeof pair);
        both[t] = _mm256_set1_epi32(pair);
      }
      for (int g = 0; g < 4; g++) {
        const __m256i rows =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 16 * g)));
        for (int t = 0; t < T; t++)
          acc[t][g] = _mm256_add_epi32(acc[t][g], _mm256_madd_epi16(rows, both[t]));
      }
    }
    for (int t = 0; t < T; t++)
      for (int g = 0; g < 4; g++)
        __builtin_memcpy(reinterpret_cast<char*>(sums + t * 4 + 2 * half) + 32 * g, &acc[t][g], 32);
  }
}
constexpr int kTile = 2;

#else

template <int T>
inline void multiply(const int8_t* w, const int16_t* const* a, int first, int last, Ints* sums) {
  int32_t acc[T][kPanelRows] = {};
  for (int k = first; k < last; k += 2) {
    const int8_t* at = w + static_cast<int64_t>(k) * kPanelRows;
    for (int t = 0; t < T; t++)
      for (int row = 0; row < kPanelRows; row++)
        acc[t][row] += at[2 * row] * a[t][k] + at[2 * row + 1] * a[t][k + 1];
  }
  __builtin_memcpy(sums, acc, sizeof acc);
}
constexpr int kTile = 4;

#endif

template <int T>
void tile_product(const Matrix& w, int panel, const Activations& a, int start, float* y, int stride,
                  bool accumulate) {
  const int8_t* data = w.data + static_cast<int64_t>(panel) * w.cols * kPanelRows;
  const int16_t* rows[T];
  Floats total[T * 4];
  for (int t = 0; t < T; t++) rows[t] = a.data + static_cast<int64_t>(start + t) * w.cols;
  for (int i = 0; i < T * 4; i++) total[i] = Floats{};
  for (int first = 0; first < w.cols; first += kBlock) {
    Ints sums[T * 4];
    const int last = first + kBlock < w.cols ? first + kBlock : w.cols;
    multiply<T>(data, rows, first, last, sums);
    for (int i = 0; i < T * 4; i++) total[i] += __builtin_convertvector(sums[i], Floats);
  }
  const int base = panel * kPanelRows;
  const int valid = w.rows - base < kPanelRows ? w.rows - base : kPanelRows;
  for (int t = 0; t < T; t++) {
    float* out = y + static_cast<int64_t>(start + t) * stride + base;
    for (int g = 0; g < 4; g++) {
      const Floats value = total[t * 4 + g] * load(w.scales + base + 16 * g) * a.scales[start + t];
      if (16 * g + 16 <= valid) {
        store(out + 16 * g, accumulate ? load(out + 16 * g) + value : value);
      } else {
        for (int i = 0; 16 * g + i < valid; i++)
          out[16 * g + i] = accumulate ? out[16 * g + i] + value[i] : value[i];
      }
    }
  }
}

void panel_product(const Matrix& w, int panel, const Activations& a, float* y, int stride,
                   bool accumulate) {
  int at = 0;
  for (; at + kTile <= a.count; at += kTile)
    tile_product<kTile>(w, panel, a, at, y, stride, accumulate);
  for (; kTile > 2 && at + 2 <= a.count; at += 2)
    tile_product<2>(w, panel, a, at, y, stride, accumulate);
  for (; at < a.count; at++) tile_product<1>(w, panel, a, at, y, stride, accumulate);
}

// Value of a row at i, and 0 past its end, so that all loops run over whole vectors.
inline Floats load_padded(const float* x, int i, int size) {
  if (i + kLanes <= size) return load(x + i);
  Floats v = {};
  for (int j = 0; i + j < size; j++) v[j] = x[i + j];
  return v;
}

float quantize(const float* x, const float* norm, float eps, int size, int padded, int16_t* q) {
  float inverse_rms = 1.0f;
  if (norm) {
    Floats squares = {};
    for (int i = 0; i < size; i += kLanes) {
      const Floats v = load_padded(x, i, size);
      squares += v * v;
    }
    inverse_rms = 1.0f / __builtin_sqrtf(sum(squares) / size + eps);
  }
  Floats most = splat(1e-20f);
  for (int i = 0; i < size; i += kLanes) {
    Floats v = load_padded(x, i, size);
    if (norm) v *= load_padded(norm, i, size);
    most = max(most, max(v, -v));
  }
  const float peak = largest(most);
  const float scale = 32767.0f / peak;
  for (int i = 0; i < padded; i += kLanes) {
    Floats v = i < size ? load_padded(x, i, size) : Floats{};
    if (norm && i < size) v *= load_padded(norm, i, size);
    const Ints rounded = __builtin_convertvector(round_even(v * scale), Ints);
    for (int j = 0; j < kLanes; j++) q[i + j] = static_cast<int16_t>(rounded[j]);
  }
  return peak / 32767.0f * inverse_rms;
}

void rotate(float* head, const float* cos, const float* sin, int head_dim) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; i++) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

void attend(const float* q, const float* k, const float* v, int length, int head_dim,
            int padded_dim, float* scores, float* out) {
  constexpr int kMaxVectors = 16;  // head_dim up to 256
  const int vectors = padded_dim / kLanes;
  const float factor = 1.0f / __builtin_sqrtf(static_cast<float>(head_dim));
  Floats query[kMaxVectors], result[kMaxVectors];
  for (int i = 0; i < vectors; i++) {
    query[i] = load_padded(q, i * kLanes, head_dim) * factor;
    result[i] = Floats{};
  }
  float peak = -1e30f;
  for (int p = 0; p < length; p++) {
    const float* key = k + static_cast<int64_t>(p) * padded_dim;
    Floats product = query[0] * load(key);
    for (int i = 1; i < vectors; i++) product += query[i] * load(key + i * kLanes);
    scores[p] = sum(product);
    peak = scores[p] > peak ? scores[p] : peak;
  }
  // Padding becomes exp(-87), which is below the last bit of a sum that is at least 1.
  for (int p = length; p % kLanes; p++) scores[p] = -1e30f;
  Floats total = {};
  for (int p = 0; p < length; p += kLanes) {
    const Floats weight = exp(load(scores + p) - peak);
    store(scores + p, weight);
    total += weight;
  }
  for (int p = 0; p < length; p++) {
    const float* value = v + static_cast<int64_t>(p) * padded_dim;
    for (int i = 0; i < vectors; i++) result[i] += load(value + i * kLanes) * scores[p];
  }
  const float inverse = 1.0f / sum(total);
  for (int i = 0; i < head_dim; i++) out[i] = result[i / kLanes][i % kLanes] * inverse;
}

void silu_product(const float* gate, const float* up, float* out, int size) {
  for (int i = 0; i < size; i += kLanes) {
    const Floats g = load_padded(gate, i, size);
    const Floats value = g / (exp(-g) + 1.0f) * load_padded(up, i, size);
    if (i + kLanes <= size) {
      store(out + i, value);
    } else {
      for (int j = 0; i + j < size; j++) out[i + j] = value[j];
    }
  }
}

int choose(const float* logits, int vocab, int draft, float bias) {
  Floats most = splat(-3e38f);
  int i = 0;
  for (; i + kLanes <= vocab; i += kLanes) most = max(most, load(logits + i));
  float peak = largest(most);
  for (; i < vocab; i++) peak = logits[i] > peak ? logits[i] : peak;
  int best = 0;
  while (best < vocab - 1 && logits[best] != peak) best++;
  if (draft < 0 || draft >= vocab || draft == best || bias <= 0.0f) return best;
  Floats total = {};
  for (i = 0; i + kLanes <= vocab; i += kLanes) total += exp(load(logits + i) - peak);
  float rest = 0.0f;
  for (; i < vocab; i++) rest += exp(splat(logits[i] - peak))[0];
  const float gap = (1.0f - exp(splat(logits[draft] - peak))[0]) / (sum(total) + rest);
  return gap <= bias / (1.0f - bias) ? draft : best;
}

}  // namespace

#define TABLE_plain kPlain
#define TABLE_avx2 kAvx2
#define TABLE_avx512 kAvx512
#define TABLE_NAME(name) CONCAT(TABLE_, name)
#define STRING(x) #x
#define NAME_OF(x) STRING(x)

extern const Kernels TABLE_NAME(TOKENSPEED_ISA) = {
    NAME_OF(TOKENSPEED_ISA), panel_product, quantize, rotate, attend, silu_product, choose,
};

}  // namespace tokenspeed

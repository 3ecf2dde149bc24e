// The kernels of kernels.h for one instruction set: compiled with -DTOKENSPEED_ISA=plain|avx2|avx512|neon
// and the matching -m flags. Includes no standard templates, whose inline copies could be shared
// with code that must run on older processors.
#include "kernels.h"

#define ISA_plain 0
#define ISA_avx2 1
#define ISA_avx512 2
#define ISA_neon 3
#define CONCAT(a, b) a##b
#define ISA_NUMBER(name) CONCAT(ISA_, name)
#define ISA ISA_NUMBER(TOKENSPEED_ISA)

#if ISA == ISA_neon
#include <arm_neon.h>
#elif ISA != ISA_plain
#include <immintrin.h>
#endif

namespace tokenspeed {
namespace {

// Sixteen floats as vectors of the instruction set's own width: GCC 12 handles wider vectors through
// memory.
constexpr int kWidth = ISA == ISA_avx512 ? 16 : ISA == ISA_avx2 ? 8 : 4, kParts = kLanes / kWidth;
typedef float Float __attribute__((vector_size(4 * kWidth)));
typedef int32_t Int __attribute__((vector_size(4 * kWidth)));
typedef float LooseFloat __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));

struct Floats {
  Float part[kParts];
  float operator[](int i) const { return part[i / kWidth][i % kWidth]; }
  void set(int i, float value) { part[i / kWidth][i % kWidth] = value; }
};
struct Ints {
  Int part[kParts];
};

template <class Function>
inline Floats each(Function&& function) {
  Floats out;
  for (int i = 0; i < kParts; i++) out.part[i] = function(i);
  return out;
}

inline Floats load(const float* p) {
  return each([&](int i) -> Float { return *reinterpret_cast<const LooseFloat*>(p + i * kWidth); });
}
inline void store(float* p, const Floats& v) {
  for (int i = 0; i < kParts; i++) *reinterpret_cast<LooseFloat*>(p + i * kWidth) = v.part[i];
}
inline Floats splat(float x) {
  return each([&](int) -> Float { return x - Float{}; });
}
#define ELEMENTWISE(op)                                                         \
  inline Floats operator op(const Floats& a, const Floats& b) {                 \
    return each([&](int i) -> Float { return a.part[i] op b.part[i]; });        \
  }                                                                             \
  inline Floats operator op(const Floats& a, float b) { return a op splat(b); } \
  inline Floats& operator op##=(Floats& a, const Floats& b) { return a = a op b; }
ELEMENTWISE(+)
ELEMENTWISE(-)
ELEMENTWISE(*)
ELEMENTWISE(/)
inline Floats operator-(const Floats& a) {
  return each([&](int i) -> Float { return -a.part[i]; });
}
inline Floats max(const Floats& a, const Floats& b) {
  return each([&](int i) -> Float { return a.part[i] > b.part[i] ? a.part[i] : b.part[i]; });
}
inline Floats min(const Floats& a, const Floats& b) {
  return each([&](int i) -> Float { return a.part[i] < b.part[i] ? a.part[i] : b.part[i]; });
}
inline Floats floats(const Ints& v) {
  return each([&](int i) -> Float { return __builtin_convertvector(v.part[i], Float); });
}

// Float16, with the same bits everywhere: the conversion to float32 is exact; the one from float32
// rounds to nearest, clamped so that nothing becomes infinite.
#if ISA == ISA_avx512 || ISA == ISA_avx2

inline Floats load(const Half* p) {
  return each([&](int i) -> Float {
#if ISA == ISA_avx512
    // With a mask of all: GCC 12 warns of its own header without one.
    return (Float)_mm512_maskz_cvtph_ps(0xffff,
                                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
    return (Float)_mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * kWidth)));
#endif
  });
}

#elif ISA == ISA_neon

inline Floats load(const Half* p) {
  return each([&](int i) -> Float {
    return (Float)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + i * kWidth)));
  });
}

#else

inline Floats load(const Half* p) {
  typedef Half Halves __attribute__((vector_size(kWidth * sizeof(Half))));
  return each([&](int i) -> Float {
    Halves halves;
    __builtin_memcpy(&halves, p + i * kWidth, sizeof halves);
    const Int bits = __builtin_convertvector(halves, Int), size = bits & 0x7fff;
    const Int normal = (size << 13) + (112 << 23);  // exponents are counted from 127, not from 15
    // Those below 2^-14 are multiples of 2^-24: the fraction of a float in [2^-14, 2^-13), less 2^-14.
    const Float small = reinterpret_cast<const Float&>(
                            static_cast<const Int&>((size << 13) + (113 << 23))) - 0x1p-14f;
    const Int value = size < 0x400 ? reinterpret_cast<const Int&>(small) : normal;
    const Int with_sign = value | (bits & 0x8000) << 16;
    return reinterpret_cast<const Float&>(with_sign);
  });
}

#endif

inline float sum(const Floats& v) {
  float a[8], b[4];
  for (int i = 0; i < 8; i++) a[i] = v[i] + v[i + 8];
  for (int i = 0; i < 4; i++) b[i] = a[i] + a[i + 4];
  return (b[0] + b[2]) + (b[1] + b[3]);
}

inline float largest(const Floats& v) {
  float a[kLanes];
  store(a, v);
  for (int half = kLanes / 2; half; half /= 2)
    for (int i = 0; i < half; i++) a[i] = a[i] > a[i + half] ? a[i] : a[i + half];
  return a[0];
}

inline void store(Half* p, Floats v) {
  v = min(max(v, splat(-65504.0f)), splat(65504.0f));
  for (int i = 0; i < kParts; i++) {
#if ISA == ISA_avx512
    const __m256i halves =
        _mm512_maskz_cvtps_ph(0xffff, (__m512)v.part[i], _MM_FROUND_TO_NEAREST_INT);
#elif ISA == ISA_avx2
    const __m128i halves = _mm256_cvtps_ph((__m256)v.part[i], _MM_FROUND_TO_NEAREST_INT);
#elif ISA == ISA_neon
    const float16x4_t halves = vcvt_f16_f32((float32x4_t)v.part[i]);
#else
    typedef Half Halves __attribute__((vector_size(kWidth * sizeof(Half))));
    const Int bits = reinterpret_cast<const Int&>(v.part[i]), size = bits & 0x7fffffff;
    const Int normal = (size - (112 << 23) + 0xfff + ((size >> 13) & 1)) >> 13;
    // Below 2^-14: the last bit of a float in [0.5, 1) is the smallest float16, so an addition rounds.
    const Float raised = reinterpret_cast<const Float&>(size) + 0.5f;
    const Int small = reinterpret_cast<const Int&>(raised) - (126 << 23);
    const Int value = (size < (113 << 23) ? small : normal) | ((bits >> 16) & 0x8000);
    const Halves halves = __builtin_convertvector(value, Halves);
#endif
    __builtin_memcpy(p + i * kWidth, &halves, sizeof halves);
  }
}

inline Floats round_even(const Floats& x) {
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
  return each([&](int i) -> Float {
    const Int power = (__builtin_convertvector(n.part[i], Int) + 127) << 23;
    return p.part[i] * reinterpret_cast<const Float&>(power);
  });
}

inline Floats tanh(const Floats& x) { return splat(1.0f) - splat(2.0f) / (exp(x + x) + 1.0f); }

// ---- integer products ----
//
// multiply<T, Bits, Columns> sums one block of a panel's 32 rows, or half of it, for T activation
// rows: sums[2 t], sums[2 t + 1] hold the 32 sums of activation row t. `w` points at the columns, a[t]
// at the row's.

#if ISA == ISA_avx512

typedef int8_t Activation;
constexpr int kGroup = 4, kOffset8 = 128;  // vpdpbusd multiplies unsigned by signed bytes
constexpr int kTile = 8;                   // 16 of 32 registers hold sums
// Prefetching helps where int4 weights come from the last-level cache (a fifth less time on Zen 4),
// and hurts where int8 weights come from memory, as the processor prefetches those better by itself.
constexpr int kAhead4 = 8192;

template <int T, int Bits, int Columns>
inline void multiply(const uint8_t* w, const Activation* const* a, const int32_t* start, Ints* sums) {
  __m512i acc[T][2];
  for (int t = 0; t < T; t++) acc[t][0] = acc[t][1] = _mm512_set1_epi32(start[t]);
  const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int k = 0; k < Columns; k += kGroup) {
    __m512i rows[2];
    if (Bits == 8) {
      const uint8_t* at = w + k * kPanelRows;
      rows[0] = _mm512_loadu_si512(at);
      rows[1] = _mm512_loadu_si512(at + 64);
    } else {
      const uint8_t* at = w + k * kPanelRows / 2;
      __builtin_prefetch(at + kAhead4);
      const __m512i both = _mm512_loadu_si512(at);
      rows[0] = _mm512_and_si512(both, low);
      rows[1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    for (int t = 0; t < T; t++) {
      int32_t four;
      __builtin_memcpy(&four, a[t] + k, sizeof four);
      const __m512i all = _mm512_set1_epi32(four);
      acc[t][0] = _mm512_dpbusd_epi32(acc[t][0], rows[0], all);
      acc[t][1] = _mm512_dpbusd_epi32(acc[t][1], rows[1], all);
    }
  }
  for (int t = 0; t < T; t++)
    for (int g = 0; g < 2; g++) __builtin_memcpy(&sums[t * 2 + g], &acc[t][g], sizeof acc[t][g]);
}

#elif ISA == ISA_avx2

// vpmaddubsw would saturate with 8-bit weights, so both sides are widened to 16 bits.
typedef int16_t Activation;
constexpr int kGroup = 2, kOffset8 = 0;
constexpr int kTile = 4;

// Sixteen registers: 16 of the 32 rows at a time, for up to four activation rows.
template <int T, int Bits, int Columns>
inline void multiply(const uint8_t* w, const Activation* const* a, const int32_t* start, Ints* sums) {
  const __m128i low = _mm_set1_epi8(15);
  for (int half = 0; half < 2; half++) {
    __m256i acc[T][2];
    for (int t = 0; t < T; t++) acc[t][0] = acc[t][1] = _mm256_set1_epi32(start[t]);
    for (int k = 0; k < Columns; k += kGroup) {
      __m256i rows[2];
      if (Bits == 8) {
        const uint8_t* at = w + k * kPanelRows + 32 * half;
        for (int g = 0; g < 2; g++)
          rows[g] = _mm256_cvtepi8_epi16(
              _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 16 * g)));
      } else {
        const uint8_t* at = w + k * kPanelRows / 2;
        for (int g = 0; g < 2; g++) {
          const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 16 * g));
          const __m128i wanted = half ? _mm_srli_epi16(both, 4) : both;
          rows[g] = _mm256_cvtepu8_epi16(_mm_and_si128(wanted, low));
        }
      }
      for (int t = 0; t < T; t++) {
        int32_t pair;
        __builtin_memcpy(&pair, a[t] + k, sizeof pair);
        const __m256i all = _mm256_set1_epi32(pair);
        for (int g = 0; g < 2; g++)
          acc[t][g] = _mm256_add_epi32(acc[t][g], _mm256_madd_epi16(rows[g], all));
      }
    }
    for (int t = 0; t < T; t++)
      for (int g = 0; g < 2; g++)
        __builtin_memcpy(reinterpret_cast<char*>(sums + t * 2 + half) + 32 * g, &acc[t][g], 32);
  }
}

#elif ISA == ISA_neon

typedef int8_t Activation;
constexpr int kGroup = 4, kOffset8 = 0;
constexpr int kTile = 4;  // 16 of 32 registers hold sums

// 16 of the 32 rows at a time; sdot multiplies four rows of four columns by one group.
template <int T, int Bits, int Columns>
inline void multiply(const uint8_t* w, const Activation* const* a, const int32_t* start, Ints* sums) {
  for (int half = 0; half < 2; half++) {
    int32x4_t acc[T][4];
    for (int t = 0; t < T; t++)
      for (int g = 0; g < 4; g++) acc[t][g] = vdupq_n_s32(start[t]);
    for (int k = 0; k < Columns; k += kGroup) {
      int8x16_t rows[4];
      for (int g = 0; g < 4; g++) {
        if (Bits == 8) {
          rows[g] = vreinterpretq_s8_u8(vld1q_u8(w + k * kPanelRows + 64 * half + 16 * g));
        } else {
          const uint8x16_t both = vld1q_u8(w + k * kPanelRows / 2 + 16 * g);
          rows[g] = vreinterpretq_s8_u8(half ? vshrq_n_u8(both, 4) : vandq_u8(both, vdupq_n_u8(15)));
        }
      }
      for (int t = 0; t < T; t++) {
        int32_t four;
        __builtin_memcpy(&four, a[t] + k, sizeof four);
        const int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(four));
        for (int g = 0; g < 4; g++) acc[t][g] = vdotq_s32(acc[t][g], rows[g], all);
      }
    }
    for (int t = 0; t < T; t++)
      __builtin_memcpy(reinterpret_cast<char*>(sums + t * 2 + half), acc[t], 64);
  }
}

#else

typedef int8_t Activation;
constexpr int kGroup = 4, kOffset8 = 0;
constexpr int kTile = 4;

template <int T, int Bits, int Columns>
inline void multiply(const uint8_t* w, const Activation* const* a, const int32_t* start, Ints* sums) {
  int32_t acc[T][kPanelRows];
  for (int t = 0; t < T; t++)
    for (int row = 0; row < kPanelRows; row++) acc[t][row] = start[t];
  for (int k = 0; k < Columns; k += kGroup)
    for (int row = 0; row < kPanelRows; row++)
      for (int c = 0; c < kGroup; c++) {
        const uint8_t* at = w + (k * kPanelRows + row * kGroup) * Bits / 8 + c;
        int value = 0;
        if (Bits == 8) {
          value = static_cast<int8_t>(*at);
        } else {
          at = w + k * kPanelRows / 2 + row % 16 * kGroup + c;
          value = row < 16 ? *at & 15 : *at >> 4;
        }
        for (int t = 0; t < T; t++) acc[t][row] += value * a[t][k + c];
      }
  __builtin_memcpy(sums, acc, sizeof acc);
}

#endif

template <int T, int Bits, bool Fine>
void tile_product(const Matrix& w, int panel, const Activations& a, int first, float* y, int stride,
                  bool accumulate) {
  constexpr int kOffset = Bits == 8 ? kOffset8 : 8;
  constexpr int kHalves = Fine ? 2 : 1, kColumns = kBlock / kHalves;
  constexpr int kColumnsBytes = kColumns * kPanelRows * Bits / 8;
  constexpr bool kByBlock = Bits == 4 || Fine;
  const int blocks = w.num_blocks(), parts = blocks * kHalves;
  const uint8_t* data = w.data + panel * w.panel_bytes();
  const float* scales = w.scales + static_cast<int64_t>(panel) * kPanelRows * (kByBlock ? blocks : 1);
  const Activation* rows[T];
  Floats total[T * 2];
  for (int t = 0; t < T; t++)
    rows[t] = static_cast<const Activation*>(a.data) + static_cast<int64_t>(first + t) * w.cols;
  for (int i = 0; i < T * 2; i++) total[i] = Floats{};
  for (int block = 0; block < blocks; block++) {
    Ints sums[T * 2];
    const auto add_up = [&](int part) {
      int32_t start[T];
      for (int t = 0; t < T; t++) start[t] = -kOffset * a.sums[(first + t) * parts + part];
      multiply<T, Bits, kColumns>(data + static_cast<int64_t>(part) * kColumnsBytes, rows, start, sums);
      for (int t = 0; t < T; t++) rows[t] += kColumns;
    };
    const auto scaled = [&](int i, int part) {
      return floats(sums[i]) * a.scales[(first + i / 2) * parts + part];
    };
    Floats value[T * 2];
    add_up(block * kHalves);
    for (int i = 0; i < T * 2; i++) value[i] = scaled(i, block * kHalves);
    if (Fine) {
      add_up(block * kHalves + 1);
      for (int i = 0; i < T * 2; i++) value[i] += scaled(i, block * kHalves + 1);
    }
    for (int i = 0; i < T * 2; i++) {
      if (kByBlock) value[i] *= load(scales + block * kPanelRows + 16 * (i % 2));
      total[i] += value[i];
    }
  }
  const int base = panel * kPanelRows;
  for (int t = 0; t < T; t++) {
    float* out = y + static_cast<int64_t>(first + t) * stride + base;
    for (int g = 0; g < 2; g++, out += 16) {
      Floats value = total[t * 2 + g];
      if (!kByBlock) value *= load(scales + 16 * g);
      const int valid = w.rows - base - 16 * g;
      if (valid >= 16) {
        store(out, accumulate ? load(out) + value : value);
      } else {
        for (int i = 0; i < valid; i++) out[i] = accumulate ? out[i] + value[i] : value[i];
      }
    }
  }
}

template <int T, int Bits, bool Fine>
inline void tiles(const Matrix& w, int panel, const Activations& a, int first, float* y, int stride,
                  bool accumulate) {
  for (; first + T <= a.count; first += T)
    tile_product<T, Bits, Fine>(w, panel, a, first, y, stride, accumulate);
  if constexpr (T > 1) {
    if (first < a.count) tiles<T - 1, Bits, Fine>(w, panel, a, first, y, stride, accumulate);
  }
}

void panel_product(const Matrix& w, int panel, const Activations& a, float* y, int stride,
                   bool accumulate) {
  if (w.bits == 4)
    tiles<kTile, 4, false>(w, panel, a, 0, y, stride, accumulate);
  else if (w.is_fine)
    tiles<kTile, 8, true>(w, panel, a, 0, y, stride, accumulate);
  else
    tiles<kTile, 8, false>(w, panel, a, 0, y, stride, accumulate);
}

// Value of a row at i, and 0 past its end, so that all loops run over whole vectors.
inline Floats load_padded(const float* x, int i, int size) {
  if (i + kLanes <= size) return load(x + i);
  Floats v = {};  // and all of it is past the end in the padding of a block
  for (int j = 0; i + j < size; j++) v.set(j, x[i + j]);
  return v;
}

// Store sixteen integers and return `total` plus their sum.
inline Floats put(Activation* q, const Floats& rounded, const Floats& total) {
  typedef Activation Packed __attribute__((vector_size(kWidth * sizeof(Activation))));
  for (int j = 0; j < kParts; j++) {
    const Packed packed =
        __builtin_convertvector(__builtin_convertvector(rounded.part[j], Int), Packed);
    __builtin_memcpy(q + j * kWidth, &packed, sizeof packed);
  }
  return total + rounded;
}

template <int Columns, bool HasRest>
void quantize_by(const float* x, const float* norm, float eps, int size, int cols,
                 const Activations& a, int row) {
  constexpr int kVectors = Columns / kLanes;
  const int blocks = cols / Columns;
  auto* q = static_cast<Activation*>(a.data) + static_cast<int64_t>(row) * cols;
  auto* rest = HasRest ? static_cast<Activation*>(a.rest->data) + static_cast<int64_t>(row) * cols
                       : nullptr;
  float inverse_rms = 1.0f;
  if (norm) {
    Floats squares = {};
    for (int i = 0; i < size; i += kLanes) {
      const Floats v = load_padded(x, i, size);
      squares += v * v;
    }
    inverse_rms = 1.0f / __builtin_sqrtf(sum(squares) / size + eps);
  }
  for (int block = 0; block < blocks; block++, q += Columns) {
    Floats values[kVectors], most = splat(1e-20f);
    for (int i = 0; i < kVectors; i++) {
      const int at = block * Columns + i * kLanes;
      values[i] = load_padded(x, at, size);
      if (norm) values[i] *= load_padded(norm, at, size);
      most = max(most, max(values[i], -values[i]));
    }
    const float peak = largest(most), scale = 127.0f / peak;
    Floats total = {}, rest_total = {};
    for (int i = 0; i < kVectors; i++) {
      const Floats steps = values[i] * scale, rounded = round_even(steps);
      total = put(q + i * kLanes, rounded, total);
      if (HasRest)
        rest_total = put(rest + block * Columns + i * kLanes, round_even((steps - rounded) * 254.0f),
                         rest_total);
    }
    const int part = row * blocks + block;
    a.sums[part] = static_cast<int32_t>(sum(total));  // exact
    a.scales[part] = peak / 127.0f * inverse_rms;
    if (HasRest) {
      a.rest->sums[part] = static_cast<int32_t>(sum(rest_total));
      a.rest->scales[part] = a.scales[part] / 254.0f;
    }
  }
}

void quantize(const float* x, const float* norm, float eps, int size, int cols, const Activations& a,
              int row) {
  const auto by = a.rest      ? quantize_by<kBlock / 2, true>
                  : a.is_fine ? quantize_by<kBlock / 2, false>
                              : quantize_by<kBlock, false>;
  by(x, norm, eps, size, cols, a, row);
}

void rotate(float* head, const float* cos, const float* sin, int head_dim) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; i++) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

template <class Kept>
void keep_as(const float* x, int size, int stride, Kept* out) {
  for (int i = 0; i < size; i += kLanes) {
    Kept kept[kLanes];
    store(kept, load_padded(x, i, size));
    for (int j = 0; j < kLanes && i + j < size; j++) out[(i + j) * stride] = kept[j];
  }
}

void keep(const float* x, int size, int stride, bool as_halves, void* out) {
  if (as_halves)
    keep_as(x, size, stride, static_cast<Half*>(out));
  else
    keep_as(x, size, stride, static_cast<float*>(out));
}

// Queries that are processed side by side, so that a key or value is converted once for all of them:
// as many as there are registers for.
constexpr int kHeads = ISA == ISA_avx512 ? kHeadsTogether : 2;

// out[h, d] = factor[h] * sum_p weights[h, p] * v[p, d], for some vectors of d, which stay in registers.
template <int Heads, int Vectors, class Kept>
void weigh(const float* weights, int padded_length, const Kept* v, int length, int stride,
           const float* factor, int size, int head_dim, float* out) {
  Floats result[Heads][Vectors] = {};
  for (int p = 0; p < length; p++, v += stride)
    for (int i = 0; i < Vectors; i++) {
      const Floats value = load(v + i * kLanes);
      for (int h = 0; h < Heads; h++) result[h][i] += value * weights[h * padded_length + p];
    }
  for (int h = 0; h < Heads; h++, out += head_dim)
    for (int i = 0; i < Vectors; i++) {
      const Floats value = result[h][i] * factor[h];
      if ((i + 1) * kLanes <= size) {
        store(out + i * kLanes, value);
      } else {
        for (int j = 0; i * kLanes + j < size; j++) out[i * kLanes + j] = value[j];
      }
    }
}

template <int Heads, bool Capped, class Kept>
void attend_together(const float* q, const Kept* k, const Kept* v, int length, int head_dim,
                     int padded_dim, float factor, float softcap, float* scores, float* out) {
  const int padded_length = (length + kLanes - 1) / kLanes * kLanes;
  Floats most[Heads];
  for (int h = 0; h < Heads; h++) most[h] = splat(-1e30f);
  for (int p = 0; p < length; p += kLanes, k += head_dim * kLanes) {
    Floats even[Heads] = {}, odd[Heads] = {};  // two sums do not wait for each other
    for (int d = 0; d < head_dim; d += 2) {
      const Floats first = load(k + d * kLanes), second = load(k + (d + 1) * kLanes);
      for (int h = 0; h < Heads; h++) {
        even[h] += first * q[h * head_dim + d];
        odd[h] += second * q[h * head_dim + d + 1];
      }
    }
    for (int h = 0; h < Heads; h++) {
      Floats score = (even[h] + odd[h]) * factor;
      if (Capped) score = tanh(score / softcap) * softcap;
      // Padding becomes exp(-87), which is below the last bit of a sum that is at least 1.
      for (int i = length - p; i < kLanes; i++) score.set(i, -1e30f);
      store(scores + h * padded_length + p, score);
      most[h] = max(most[h], score);
    }
  }
  float inverse[Heads];
  for (int h = 0; h < Heads; h++) {
    float* row = scores + h * padded_length;
    const float peak = largest(most[h]);
    Floats total = {};
    for (int p = 0; p < length; p += kLanes) {
      const Floats weight = exp(load(row + p) - peak);
      store(row + p, weight);
      total += weight;
    }
    inverse[h] = 1.0f / sum(total);
  }
  constexpr int kVectors = ISA == ISA_avx512 ? 4 : 4 / Heads;
  int d = 0;
  for (; d + kVectors * kLanes <= padded_dim; d += kVectors * kLanes)
    weigh<Heads, kVectors>(scores, padded_length, v + d, length, padded_dim, inverse, head_dim - d,
                           head_dim, out + d);
  for (; d < padded_dim; d += kLanes)
    weigh<Heads, 1>(scores, padded_length, v + d, length, padded_dim, inverse, head_dim - d, head_dim,
                    out + d);
}

template <int Heads, bool Capped, class Kept>
inline void attend_by(const float* q, int heads, const Kept* k, const Kept* v, int length,
                      int head_dim, int padded_dim, float factor, float softcap, float* scores,
                      float* out) {
  int h = 0;
  for (; h + Heads <= heads; h += Heads)
    attend_together<Heads, Capped>(q + h * head_dim, k, v, length, head_dim, padded_dim, factor,
                                   softcap, scores, out + h * head_dim);
  if constexpr (Heads > 1) {
    if (h < heads)
      attend_by<Heads / 2, Capped>(q + h * head_dim, heads - h, k, v, length, head_dim, padded_dim,
                                   factor, softcap, scores, out + h * head_dim);
  }
}

template <class Kept>
void attend_to(const float* q, int heads, const void* k, const void* v, int length, int head_dim,
               int padded_dim, float scale, float softcap, float* scores, float* out) {
  const auto by = softcap > 0.0f ? attend_by<kHeads, true, Kept> : attend_by<kHeads, false, Kept>;
  by(q, heads, static_cast<const Kept*>(k), static_cast<const Kept*>(v), length, head_dim, padded_dim,
     scale, softcap, scores, out);
}

void attend(const float* q, int heads, const void* k, const void* v, bool as_halves, int length,
            int head_dim, int padded_dim, float scale, float softcap, float* scores, float* out) {
  const auto to = as_halves ? attend_to<Half> : attend_to<float>;
  to(q, heads, k, v, length, head_dim, padded_dim, scale, softcap, scores, out);
}

// The part of a row at i, without what is past its end.
inline void store_part(float* out, int i, int size, const Floats& value) {
  if (i + kLanes <= size) {
    store(out + i, value);
  } else {
    for (int j = 0; i + j < size; j++) out[i + j] = value[j];
  }
}

void silu_product(const float* gate, const float* up, float* out, int size) {
  for (int i = 0; i < size; i += kLanes) {
    const Floats g = load_padded(gate, i, size);
    store_part(out, i, size, g / (exp(-g) + 1.0f) * load_padded(up, i, size));
  }
}

void gelu_product(const float* gate, const float* up, float* out, int size) {
  constexpr float kFactor = 2 * 0.7978845608f;  // 2 sqrt(2 / pi)
  for (int i = 0; i < size; i += kLanes) {
    const Floats g = load_padded(gate, i, size);
    // (1 + tanh(u)) / 2 is 1 / (1 + exp(-2 u)).
    const Floats twice = (g + g * g * g * 0.044715f) * kFactor;
    store_part(out, i, size, g / (exp(-twice) + 1.0f) * load_padded(up, i, size));
  }
}

void norm(const float* x, const float* weight, float eps, int size, bool adds, float* out) {
  Floats squares = {};
  for (int i = 0; i < size; i += kLanes) {
    const Floats v = load_padded(x, i, size);
    squares += v * v;
  }
  const float inverse_rms = 1.0f / __builtin_sqrtf(sum(squares) / size + eps);
  for (int i = 0; i < size; i += kLanes) {
    Floats value = load_padded(x, i, size) * inverse_rms * load_padded(weight, i, size);
    if (adds) value = load_padded(out, i, size) + value;
    store_part(out, i, size, value);
  }
}

void cap(float* x, float softcap, int size) {
  for (int i = 0; i < size; i += kLanes)
    store_part(x, i, size, tanh(load_padded(x, i, size) / softcap) * softcap);
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
#define TABLE_neon kNeon
#define TABLE_NAME(name) CONCAT(TABLE_, name)
#define STRING(x) #x
#define NAME_OF(x) STRING(x)

extern const Kernels TABLE_NAME(TOKENSPEED_ISA) = {
    NAME_OF(TOKENSPEED_ISA),
    kGroup,
    sizeof(Activation),
    kOffset8,
    panel_product,
    quantize,
    rotate,
    keep,
    attend,
    silu_product,
    gelu_product,
    norm,
    cap,
    choose,
};

}  // namespace tokenspeed

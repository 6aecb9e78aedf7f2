// The kernels on AVX2 and FMA: vectors of 8.
#include <immintrin.h>

#include "kernels.h"

namespace lapidary {
namespace avx2 {

constexpr size_t kWidth = 8;
constexpr size_t kPanelVectors = 2;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 1;

using Vec = __m256;

static inline Vec zero() { return _mm256_setzero_ps(); }
static inline Vec load(const float* from) { return _mm256_load_ps(from); }
static inline void store(float* to, Vec a) { _mm256_store_ps(to, a); }
static inline void store_unaligned(float* to, Vec a) { _mm256_storeu_ps(to, a); }
static inline Vec broadcast(float value) { return _mm256_set1_ps(value); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
static inline Vec divide(Vec a, Vec b) { return _mm256_div_ps(a, b); }
static inline Vec square_root(Vec a) { return _mm256_sqrt_ps(a); }
static inline uint32_t greater(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}

static inline float tree_sum(const Vec* parts) {
  const __m256 eight = _mm256_add_ps(parts[0], parts[1]);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// 8 × 8, in three rounds: pairs, quads, halves.
static inline void transpose(const float* const* from, float* const* to) {
  __m256 a[8];
  __m256 b[8];
  for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from[i]);
  for (int i = 0; i < 4; i++) {
    b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(to[i], _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(to[i + 4], _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

#include "body.h"

}  // namespace avx2

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = {"AVX2", avx2::kPanel, avx2::kFlopsPerPeakIteration, avx2::pack, avx2::score, avx2::dot,
                              avx2::gather, avx2::adam, avx2::peak};

}  // namespace lapidary

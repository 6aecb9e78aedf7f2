// The kernels on AVX2 and FMA: vectors of 8.
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

namespace lapidary {
namespace avx2 {

#include "vec_avx2.h"

constexpr size_t kPanelVectors = 2;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 1;

#include "body.h"

// The screen: bytes widened to 16 bits, where products of two neighbours cannot overflow. A sum of kWidth latents is two
// vectors, latents 0 … 3 and 4 … 7, with two partial sums for each latent.
constexpr size_t kScreenTokens = 6;
constexpr size_t kScreenVectors = 1;
constexpr size_t kValueBytes = 2;

struct Sums {
  __m256i low;
  __m256i high;
};
using Weights = Sums;
using TokenStep = __m256i;

static inline Sums no_sums() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline Weights load_weights(const uint8_t* from) {
  const __m128i* bytes = reinterpret_cast<const __m128i*>(from);
  return {_mm256_cvtepu8_epi16(_mm_load_si128(bytes)), _mm256_cvtepu8_epi16(_mm_load_si128(bytes + 1))};
}
static inline TokenStep token_step(const char* values) {
  return _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(values)));
}
static inline Sums add_products(Sums sums, const Weights& w, TokenStep x) {
  return {_mm256_add_epi32(sums.low, _mm256_madd_epi16(w.low, x)),
          _mm256_add_epi32(sums.high, _mm256_madd_epi16(w.high, x))};
}
static inline Vec to_floats(Sums sums, int32_t offset) {
  // hadd leaves pairs of latents as 0 1 4 5 2 3 6 7
  const __m256i pairs = _mm256_hadd_epi32(sums.low, sums.high);
  const __m256i whole = _mm256_permute4x64_epi64(pairs, 0xd8);
  return _mm256_cvtepi32_ps(_mm256_add_epi32(whole, _mm256_set1_epi32(offset)));
}
static inline uint32_t not_at_most(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NLE_UQ)));
}
static inline void keep_in_register(Sums& sums) {
#if defined(__GNUC__)
  __asm__ volatile("" : "+x"(sums.low), "+x"(sums.high));
#else
  (void)sums;
#endif
}

#include "screen_body.h"

}  // namespace avx2

extern const Kernels kAvx2Kernels;
extern const ScreenKernels kAvx2Screen;
const Kernels kAvx2Kernels = avx2::kernels_named("AVX2");
const ScreenKernels kAvx2Screen = avx2::screen_named("AVX2");

}  // namespace lapidary

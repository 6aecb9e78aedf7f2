// The screen on AVX-512 with VNNI: one instruction multiplies and adds four bytes for each of 16 latents.
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

namespace lapidary {
namespace avx512_vnni {

#include "vec_avx512.h"

constexpr size_t kScreenTokens = 6;
constexpr size_t kScreenVectors = 4;
constexpr size_t kValueBytes = 1;

using Sums = __m512i;
using Weights = __m512i;
using TokenStep = __m512i;

static inline Sums no_sums() { return _mm512_setzero_si512(); }
static inline Weights load_weights(const uint8_t* from) { return _mm512_load_si512(from); }
static inline TokenStep token_step(const char* values) {
  int32_t four;
  memcpy(&four, values, sizeof four);
  return _mm512_set1_epi32(four);
}
static inline Sums add_products(Sums sums, Weights w, TokenStep x) { return _mm512_dpbusd_epi32(sums, w, x); }
static inline Vec to_floats(Sums sums, int32_t offset) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(sums, _mm512_set1_epi32(offset)));
}
static inline uint32_t not_at_most(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ); }
static inline void keep_in_register(Sums& sums) {
#if defined(__GNUC__)
  __asm__ volatile("" : "+v"(sums));
#else
  (void)sums;
#endif
}

#include "screen_body.h"

}  // namespace avx512_vnni

extern const ScreenKernels kAvx512VnniScreen;
const ScreenKernels kAvx512VnniScreen = avx512_vnni::screen_named("AVX-512 VNNI");

}  // namespace lapidary

// The screen on AVX-VNNI, for processors with AVX2 but no AVX-512: one instruction multiplies and adds four bytes for
// each of 8 latents.
//
// The instruction is switched on here and not by a flag, which older compilers would refuse.
// LAPIDARY_EVEX_VNNI (gcc): the same in AVX-512's encoding, so that a machine that has only that one can test this file
// (native/test/parity.cc).
#include "kernels.h"

#ifdef LAPIDARY_AVX_VNNI
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avxvnni"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#ifdef LAPIDARY_EVEX_VNNI
#pragma GCC target("avx512vl,avx512vnni")
#else
#pragma GCC target("avxvnni")
#endif
#endif

namespace lapidary {
namespace avx_vnni {

#include "vec_avx2.h"

constexpr size_t kScreenTokens = 6;
constexpr size_t kScreenVectors = 2;
constexpr size_t kValueBytes = 1;

using Sums = __m256i;
using Weights = __m256i;
using TokenStep = __m256i;

static inline Sums no_sums() { return _mm256_setzero_si256(); }
static inline Weights load_weights(const uint8_t* from) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}
static inline TokenStep token_step(const char* values) {
  int32_t four;
  memcpy(&four, values, sizeof four);
  return _mm256_set1_epi32(four);
}
static inline Sums add_products(Sums sums, Weights w, TokenStep x) {
#ifdef LAPIDARY_EVEX_VNNI
  return _mm256_dpbusd_epi32(sums, w, x);
#else
  return _mm256_dpbusd_avx_epi32(sums, w, x);
#endif
}
static inline Vec to_floats(Sums sums, int32_t offset) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(sums, _mm256_set1_epi32(offset)));
}
static inline uint32_t not_at_most(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NLE_UQ)));
}
static inline void keep_in_register(Sums& sums) {
#if defined(__GNUC__)
  __asm__ volatile("" : "+x"(sums));
#else
  (void)sums;
#endif
}

#include "screen_body.h"

}  // namespace avx_vnni

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

extern const ScreenKernels kAvxVnniScreen;
const ScreenKernels kAvxVnniScreen = avx_vnni::screen_named("AVX-VNNI");

}  // namespace lapidary

#endif

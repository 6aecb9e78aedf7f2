// The screen on NEON with the dot product instructions of ARMv8.2: one multiplies and adds four bytes for each of 4
// latents.
#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

namespace lapidary {
namespace neon_dotprod {

#include "vec_neon.h"

constexpr size_t kScreenTokens = 6;
constexpr size_t kScreenVectors = 4;
constexpr size_t kValueBytes = 1;

using Sums = int32x4_t;
using Weights = int8x16_t;
using TokenStep = int8x16_t;

static inline Sums no_sums() { return vdupq_n_s32(0); }
// Without the 128 in the weights, so nothing has to be undone at the end.
static inline Weights load_weights(const uint8_t* from) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from), vdupq_n_u8(128)));
}
static inline TokenStep token_step(const char* values) {
  int32_t four;
  memcpy(&four, values, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
static inline Sums add_products(Sums sums, Weights w, TokenStep x) { return vdotq_s32(sums, w, x); }
static inline Vec to_floats(Sums sums, int32_t) { return vcvtq_f32_s32(sums); }
static inline void keep_in_register(Sums& sums) {
#if defined(__GNUC__)
  __asm__ volatile("" : "+w"(sums));
#else
  (void)sums;
#endif
}

#include "screen_body.h"

}  // namespace neon_dotprod

extern const ScreenKernels kNeonDotprodScreen;
const ScreenKernels kNeonDotprodScreen = neon_dotprod::screen_named("NEON dotprod");

}  // namespace lapidary

// The kernels on NEON, which every arm64 processor has: vectors of 4.
#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

namespace lapidary {
namespace neon {

#include "vec_neon.h"

// 6 tokens × 16 latents are 24 accumulators of the 32 registers.
constexpr size_t kPanelVectors = 4;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 1;

#include "body.h"

// The screen without the dot product instructions: products of bytes in 16 bits, two neighbours of which are added to a
// sum in 32. A sum of kWidth latents is two vectors, latents 0 1 and 2 3, with two partial sums for each latent.
constexpr size_t kScreenTokens = 6;
constexpr size_t kScreenVectors = 2;
constexpr size_t kValueBytes = 1;

struct Sums {
  int32x4_t low;
  int32x4_t high;
};
using Weights = int8x16_t;
using TokenStep = int8x16_t;

static inline Sums no_sums() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
// Without the 128 in the weights, so nothing has to be undone at the end.
static inline Weights load_weights(const uint8_t* from) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from), vdupq_n_u8(128)));
}
static inline TokenStep token_step(const char* values) {
  int32_t four;
  memcpy(&four, values, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
static inline Sums add_products(Sums sums, Weights w, TokenStep x) {
  return {vpadalq_s16(sums.low, vmull_s8(vget_low_s8(w), vget_low_s8(x))),
          vpadalq_s16(sums.high, vmull_high_s8(w, x))};
}
static inline Vec to_floats(Sums sums, int32_t) { return vcvtq_f32_s32(vpaddq_s32(sums.low, sums.high)); }
static inline void keep_in_register(Sums& sums) {
#if defined(__GNUC__)
  __asm__ volatile("" : "+w"(sums.low), "+w"(sums.high));
#else
  (void)sums;
#endif
}

#include "screen_body.h"

}  // namespace neon

extern const Kernels kNeonKernels;
extern const ScreenKernels kNeonScreen;
const Kernels kNeonKernels = neon::kernels_named("NEON");
const ScreenKernels kNeonScreen = neon::screen_named("NEON");

}  // namespace lapidary

// Vectors of 4 floats in NEON, as body.h wants them: what neon.cc and neon_dotprod.cc have in common. Included by
// each inside a namespace of its own, after <arm_neon.h> and kernels.h. No include guard: that is the point.

constexpr size_t kWidth = 4;
// 6 tokens × 16 latents are 24 accumulators of the 32 registers.
constexpr size_t kPanelVectors = 4;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 1;

using Vec = float32x4_t;

static inline Vec zero() { return vdupq_n_f32(0.0f); }
static inline Vec load(const float* from) { return vld1q_f32(from); }
static inline void store(float* to, Vec a) { vst1q_f32(to, a); }
static inline void store_unaligned(float* to, Vec a) { vst1q_f32(to, a); }
static inline Vec broadcast(float value) { return vdupq_n_f32(value); }
static inline Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
static inline Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
static inline Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
static inline Vec divide(Vec a, Vec b) { return vdivq_f32(a, b); }
static inline Vec square_root(Vec a) { return vsqrtq_f32(a); }

static inline uint32_t greater(Vec a, Vec b) {
  static constexpr uint32_t kBits[kWidth] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), vld1q_u32(kBits)));
}

static inline float tree_sum(const Vec* parts) {
  const float32x4_t four = vaddq_f32(vaddq_f32(parts[0], parts[2]), vaddq_f32(parts[1], parts[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

// 4 × 4: pairs, then halves.
static inline void transpose(const float* const* from, float* const* to) {
  const float32x4_t a0 = vld1q_f32(from[0]);
  const float32x4_t a1 = vld1q_f32(from[1]);
  const float32x4_t a2 = vld1q_f32(from[2]);
  const float32x4_t a3 = vld1q_f32(from[3]);
  const float32x4_t even01 = vtrn1q_f32(a0, a1);
  const float32x4_t odd01 = vtrn2q_f32(a0, a1);
  const float32x4_t even23 = vtrn1q_f32(a2, a3);
  const float32x4_t odd23 = vtrn2q_f32(a2, a3);
  vst1q_f32(to[0], vcombine_f32(vget_low_f32(even01), vget_low_f32(even23)));
  vst1q_f32(to[1], vcombine_f32(vget_low_f32(odd01), vget_low_f32(odd23)));
  vst1q_f32(to[2], vcombine_f32(vget_high_f32(even01), vget_high_f32(even23)));
  vst1q_f32(to[3], vcombine_f32(vget_high_f32(odd01), vget_high_f32(odd23)));
}

// The primitives of the kernels on NEON: vectors of 4. Included inside a namespace; no guard.

constexpr size_t kWidth = 4;

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
static inline Vec absolute(Vec a) { return vabsq_f32(a); }
static inline Vec maximum(Vec a, Vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline Vec round_to_even(Vec a) { return vrndnq_f32(a); }
static inline void store_bytes(int8_t* to, Vec a) {
  const int16x4_t words = vmovn_s32(vcvtq_s32_f32(a));
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  memcpy(to, &four, sizeof four);
}

// Four lanes, all ones or zeros, as four bits.
static inline uint32_t bits_of(uint32x4_t mask) {
  static constexpr uint32_t kBits[kWidth] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(mask, vld1q_u32(kBits)));
}
static inline uint32_t greater(Vec a, Vec b) { return bits_of(vcgtq_f32(a, b)); }
static inline uint32_t not_at_most(Vec a, Vec b) { return bits_of(vmvnq_u32(vcleq_f32(a, b))); }

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

// The primitives of the kernels on AVX2 and FMA: vectors of 8. Included inside a namespace; no guard.

constexpr size_t kWidth = 8;

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
static inline Vec absolute(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline Vec maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
static inline Vec round_to_even(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline void store_bytes(int8_t* to, Vec a) {
  const __m256i whole = _mm256_cvtps_epi32(a);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
}
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

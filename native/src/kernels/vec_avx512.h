// The primitives of the kernels on AVX-512F: vectors of 16. Included inside a namespace; no guard.

constexpr size_t kWidth = 16;

using Vec = __m512;

static inline Vec zero() { return _mm512_setzero_ps(); }
static inline Vec load(const float* from) { return _mm512_load_ps(from); }
static inline void store(float* to, Vec a) { _mm512_store_ps(to, a); }
static inline void store_unaligned(float* to, Vec a) { _mm512_storeu_ps(to, a); }
static inline Vec broadcast(float value) { return _mm512_set1_ps(value); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
static inline Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
static inline Vec square_root(Vec a) { return _mm512_sqrt_ps(a); }
static inline Vec absolute(Vec a) { return _mm512_abs_ps(a); }
static inline Vec maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
static inline Vec round_to_even(Vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline void store_bytes(int8_t* to, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}
static inline uint32_t greater(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }

static inline float tree_sum(const Vec* parts) {
  const __m256 low = _mm512_castps512_ps256(parts[0]);
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(parts[0]), 1));
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// 16 × 16, in four rounds: pairs, quads, then 128-bit quarters twice.
static inline void transpose(const float* const* from, float* const* to) {
  __m512 a[16];
  __m512 b[16];
  for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(from[i]);
  for (int i = 0; i < 8; i++) {
    b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
  }
  // a[4q + c]: of rows 4q … 4q+3, dimension c of each quarter
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
  for (int c = 0; c < 4; c++) {
    const __m512 even_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88);
    const __m512 odd_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
    _mm512_storeu_ps(to[c], _mm512_shuffle_f32x4(even_low, even_high, 0x88));
    _mm512_storeu_ps(to[c + 4], _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
    _mm512_storeu_ps(to[c + 8], _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
    _mm512_storeu_ps(to[c + 12], _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
  }
}

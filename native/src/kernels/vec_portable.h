// The primitives of the kernels on plain C++ with std::fma: vectors of 4. Included inside a namespace; no guard.

constexpr size_t kWidth = 4;

struct Vec {
  float lane[kWidth];
};

template <class Operation>
static inline Vec each(Operation operation) {
  Vec out;
  for (size_t i = 0; i < kWidth; i++) out.lane[i] = operation(i);
  return out;
}

static inline Vec zero() { return {{0.0f, 0.0f, 0.0f, 0.0f}}; }
static inline Vec load(const float* from) { return {{from[0], from[1], from[2], from[3]}}; }
static inline void store(float* to, const Vec& a) {
  for (size_t i = 0; i < kWidth; i++) to[i] = a.lane[i];
}
static inline void store_unaligned(float* to, const Vec& a) { store(to, a); }
static inline Vec broadcast(float value) { return {{value, value, value, value}}; }
static inline Vec fma(const Vec& a, const Vec& b, const Vec& c) {
  return each([&](size_t i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
}
static inline Vec add(const Vec& a, const Vec& b) {
  return each([&](size_t i) { return a.lane[i] + b.lane[i]; });
}
static inline Vec mul(const Vec& a, const Vec& b) {
  return each([&](size_t i) { return a.lane[i] * b.lane[i]; });
}
static inline Vec divide(const Vec& a, const Vec& b) {
  return each([&](size_t i) { return a.lane[i] / b.lane[i]; });
}
static inline Vec square_root(const Vec& a) {
  return each([&](size_t i) { return std::sqrt(a.lane[i]); });
}
static inline Vec absolute(const Vec& a) {
  return each([&](size_t i) { return std::fabs(a.lane[i]); });
}
static inline Vec maximum(const Vec& a, const Vec& b) {
  return each([&](size_t i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
static inline Vec round_to_even(const Vec& a) {
  return each([&](size_t i) { return std::nearbyint(a.lane[i]); });
}
static inline void store_bytes(int8_t* to, const Vec& a) {
  for (size_t i = 0; i < kWidth; i++) to[i] = static_cast<int8_t>(a.lane[i]);
}
static inline uint32_t greater(const Vec& a, const Vec& b) {
  uint32_t mask = 0;
  for (size_t i = 0; i < kWidth; i++) mask |= static_cast<uint32_t>(a.lane[i] > b.lane[i]) << i;
  return mask;
}

static inline float tree_sum(const Vec* parts) {
  float lane[kLanes];
  for (size_t l = 0; l < kLanes; l++) lane[l] = parts[l / kWidth].lane[l % kWidth];
  for (size_t half = kLanes / 2; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) lane[l] = lane[l] + lane[l + half];
  return lane[0];
}

static inline void transpose(const float* const* from, float* const* to) {
  for (size_t r = 0; r < kWidth; r++)
    for (size_t c = 0; c < kWidth; c++) to[c][r] = from[r][c];
}

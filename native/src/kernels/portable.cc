// The kernels in plain C++ with std::fma: every machine has these, and they define what the others must equal.
#include <string.h>

#include <cmath>

#include "kernels.h"

namespace lapidary {
namespace portable {

#include "vec_portable.h"

constexpr size_t kPanelVectors = 4;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 1;

#include "body.h"

// The screen, four bytes a latent at a time.
constexpr size_t kScreenTokens = 1;
constexpr size_t kScreenVectors = 4;
constexpr size_t kValueBytes = 1;

struct Sums {
  int32_t lane[kWidth];
};
struct Weights {
  const uint8_t* bytes;
};
struct TokenStep {
  const int8_t* values;
};

static inline Sums no_sums() { return {{0, 0, 0, 0}}; }
static inline Weights load_weights(const uint8_t* from) { return {from}; }
static inline TokenStep token_step(const char* values) { return {reinterpret_cast<const int8_t*>(values)}; }
static inline Sums add_products(Sums sums, const Weights& w, const TokenStep& x) {
  for (size_t i = 0; i < kWidth; i++)
    for (size_t j = 0; j < kStepDimensions; j++) sums.lane[i] += w.bytes[i * kStepDimensions + j] * x.values[j];
  return sums;
}
static inline Vec to_floats(const Sums& sums, int32_t offset) {
  return each([&](size_t i) { return static_cast<float>(sums.lane[i] + offset); });
}
static inline uint32_t not_at_most(const Vec& a, const Vec& b) {
  uint32_t mask = 0;
  for (size_t i = 0; i < kWidth; i++) mask |= static_cast<uint32_t>(!(a.lane[i] <= b.lane[i])) << i;
  return mask;
}
static inline void keep_in_register(Sums&) {}

#include "screen_body.h"

}  // namespace portable

const Kernels kPortableKernels = portable::kernels_named("portable");
const ScreenKernels kPortableScreen = portable::screen_named("portable");

}  // namespace lapidary

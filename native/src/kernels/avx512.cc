// The kernels on AVX-512F: vectors of 16.
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

namespace lapidary {
namespace avx512 {

#include "vec_avx512.h"

constexpr size_t kPanelVectors = 2;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 2;

#include "body.h"

}  // namespace avx512

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = avx512::kernels_named("AVX-512");

}  // namespace lapidary

// The kernels on NEON, which every arm64 processor has: vectors of 4.
#include <arm_neon.h>

#include "kernels.h"

namespace lapidary {
namespace neon {

#include "neon.h"

#include "body.h"

}  // namespace neon

extern const Kernels kNeonKernels;
const Kernels kNeonKernels = {"NEON", neon::kPanel, neon::kFlopsPerPeakIteration, neon::pack, neon::score, neon::dot,
                              neon::gather, neon::adam, neon::peak};

}  // namespace lapidary

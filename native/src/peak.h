// What this machine can do at best, measured.
#pragma once
#include "kernels/kernels.h"

namespace lapidary {

// All threads at once, the best of a few runs of about `milliseconds` each.
double measure_fp32_peak(const Kernels& kernels, int n_threads, double milliseconds);         // GFLOP/s
double measure_int8_peak(const ScreenKernels& screen, int n_threads, double milliseconds);    // Gop/s
double measure_memory_peak(const Kernels& kernels, int n_threads, double milliseconds);       // GB/s, read and written

}  // namespace lapidary

// What this machine can do at best in fp32, measured: the yardstick of the benches.
#pragma once
#include "kernels/kernels.h"

namespace lapidary {

// Best rate of several runs of about `milliseconds`, in GFLOP/s, all threads running independent FMAs at once.
double measure_peak(const Kernels& kernels, int n_threads, double milliseconds);

}  // namespace lapidary

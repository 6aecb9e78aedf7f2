// exp, log and tanh in f64, by additions and products in a fixed order: the C library's own differ in the last place
// between machines, and the bits of a training step must not (docs/decisions/001-order-of-sums.md). Exact to a few units
// of the last place of f64, which is far more than the fp32 that is kept of them.
#pragma once
#include <cmath>

namespace lapidary {

constexpr double kLog2High = 6.93147180369123816490e-01;  // 21 low bits zero: exact times any exponent
constexpr double kLog2Low = 1.90821492927058770002e-10;

inline double exp_of(double x) {
  if (!(x == x)) return x;
  if (x > 709.7) return HUGE_VAL;
  if (x < -745.2) return 0.0;
  const double k = std::floor(x * 1.44269504088896338700e+00 + 0.5);
  const double r = (x - k * kLog2High) - k * kLog2Low;  // |r| < 0.35
  double sum = 1.0;
  for (int n = 14; n > 0; n--) sum = 1.0 + r * sum / n;
  return std::ldexp(sum, static_cast<int>(k));
}

// Of x ≥ 0.
inline double log_of(double x) {
  if (!(x > 0.0) || x > 1.7976931348623157e308) return x == 0.0 ? -HUGE_VAL : x;
  int exponent;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752440) {
    m *= 2.0;
    exponent -= 1;
  }
  const double s = (m - 1.0) / (m + 1.0);  // log m = 2 (s + s³/3 + s⁵/5 + …), |s| < 0.172
  double sum = 0.0;
  for (int n = 23; n > 0; n -= 2) sum = 1.0 / n + s * s * sum;
  return exponent * kLog2High + (2.0 * s * sum + exponent * kLog2Low);
}

// x to the power p of x ≥ 0, p > 0.
inline double power_of(double x, double p) {
  if (p == 1.0) return x;
  return x == 0.0 ? 0.0 : exp_of(p * log_of(x));
}

// Of x ≥ 0.
inline double tanh_of(double x) {
  if (x < 1e-5) return x;  // x³/3 is below the last place of fp32
  const double e = exp_of(-2.0 * x);
  return (1.0 - e) / (1.0 + e);
}

}  // namespace lapidary

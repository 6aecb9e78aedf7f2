// What every backward pass ends with, whichever way its gradients came about: dbDec, and Adam.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine.h"

namespace lapidary {

// Rows of d_pad values to be added up, ascending.
struct Rows {
  const float* rows;
  size_t n;
};

// dbDec = Σ signals, one after the other, − Σ through_encoder: [d_pad]. One worker owns a range of dimensions.
void sum_b_dec_gradient(ThreadPool& pool, size_t d_pad, const std::vector<Rows>& signals, Rows through_encoder,
                        float* out);

// Lets clipped, dense Adam move parameters, also those without a gradient: momentum carries them on.
class Update {
 public:
  Update(Engine& engine, const StepOptions& options, double grad_norm);

  // n dimensions of both matrices' rows from `place` on, which the sweep comes to next.
  void prefetch(size_t place, size_t n) const;
  void move_rows(size_t place, size_t n, const float* d_dec, const float* d_enc) const;
  void move_biases(const float* d_enc, const float* d_dec) const;
  // of an extra parameter
  void move_extra(size_t extra, const float* gradient) const;

 private:
  struct Matrix {
    float* weights;
    float* wide[2];
    uint16_t* narrow[2];
  };

  Engine& engine_;
  AdamFactors factors_;
  Matrix dec_;
  Matrix enc_;
  uint32_t rounding_seed_;  // for moments kept as bf16
};

}  // namespace lapidary

// A training batch: x and c = x − bDec·[centred], rows padded with zeros.
#pragma once
#include <cstddef>
#include <cstring>

#include "aligned_array.h"
#include "ranges.h"

namespace lapidary {

class Batch {
 public:
  // x [n_tokens][d]; b_dec [d_pad]: what is subtracted; null: nothing is.
  void load(ThreadPool& pool, const float* x, size_t n_tokens, size_t d, size_t d_pad, const float* b_dec) {
    x_.reserve(n_tokens * d_pad);
    if (b_dec != nullptr) centred_.reserve(n_tokens * d_pad);
    c_ = b_dec != nullptr ? centred_.data() : x_.data();
    for_each(pool, n_tokens, kTokensAtOnce, [&](size_t t, int) {
      float* row = x_.data() + t * d_pad;  // padding: zeros since allocation
      std::memcpy(row, x + t * d, d * sizeof(float));
      if (b_dec == nullptr) return;
      float* c = centred_.data() + t * d_pad;
      for (size_t j = 0; j < d_pad; j++) c[j] = row[j] - b_dec[j];
    });
  }

  const float* x() const { return x_.data(); }  // [B][d_pad]
  const float* c() const { return c_; }         // [B][d_pad], the encoder's input

 private:
  AlignedArray<float> x_;
  AlignedArray<float> centred_;  // unused if the input is not centred
  const float* c_ = nullptr;
};

}  // namespace lapidary

#include "quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ranges.h"

namespace lapidary {
namespace {

// A dimension is kept in fp32 if its mean square is this many times the average of all.
constexpr double kOutlierShare = 20.0;
// Each costs an fma a pair beside d/4 integer instructions: this many dimensions to one of them.
constexpr size_t kDimensionsPerOutlier = 64;

// Kernels load whole vectors of rows; a caller's may begin anywhere.
bool is_aligned(const float* row) { return reinterpret_cast<uintptr_t>(row) % (kLanes * sizeof(float)) == 0; }

}  // namespace

float length_bound(float squares, size_t n) {
  constexpr float kTiny = 8.67361738e-19f;  // 2⁻⁶⁰
  // Beyond this, products of two lengths come near the largest number there is: nothing is ruled out.
  constexpr float kVast = 1.32922800e+36f;  // 2¹²⁰
  if (!(squares <= kVast)) return std::numeric_limits<float>::infinity();
  const float slack = static_cast<float>(n / kLanes + 16) * 0x1p-23f;
  return std::sqrt(squares) * (1.0f + slack) + kTiny;
}

float rounding_share(size_t n) { return static_cast<float>((n + kLanes - 1) / kLanes + 8) * 0x1p-23f; }

// ---- latents ----

QuantisedLatents::QuantisedLatents(size_t n_latents, size_t d_in)
    : n_latents_(n_latents),
      d_in_(d_in),
      d_pad_(round_up(d_in, kLanes)),
      weights_(round_up(n_latents, kScreenPanel) * d_pad_),
      scale_(round_up(n_latents, kScreenPanel)),
      length_(scale_.size()),
      error_(scale_.size()),
      outlier_weights_(scale_.size() * kMaxOutliers),
      stale_(scale_.size() / kScreenPanel, 1) {}

void QuantisedLatents::forget(size_t first, size_t n) {
  if (n == 0) return;
  const size_t end = (first + n - 1) / kScreenPanel + 1;
  std::fill(stale_.begin() + static_cast<std::ptrdiff_t>(first / kScreenPanel),
            stale_.begin() + static_cast<std::ptrdiff_t>(end), uint8_t{1});
}

void QuantisedLatents::refresh(ThreadPool& pool, const Kernels& kernels, const float* w_enc,
                               const TokenRows& sample) {
  const size_t n_stale = static_cast<size_t>(std::count(stale_.begin(), stale_.end(), 1));
  if (n_stale == 0) return;
  if (n_stale == stale_.size()) choose_outliers(sample);
  struct Workspace {
    AlignedArray<float> row;
    AlignedArray<int8_t> bytes;
  };
  std::vector<Workspace> workspaces(static_cast<size_t>(pool.size()));
  for (Workspace& work : workspaces) {
    work.row = AlignedArray<float>(d_pad_);
    work.bytes = AlignedArray<int8_t>(kScreenPanel * d_pad_);
  }
  pool.parallel_for(stale_.size(), [&](size_t at, int worker) {
    Workspace& work = workspaces[static_cast<size_t>(worker)];
    if (stale_[at] != 0) quantise_panel(at, kernels, w_enc, work.row.data(), work.bytes.data());
    stale_[at] = 0;
  });
}

void QuantisedLatents::choose_outliers(const TokenRows& sample) {
  std::vector<double> squares(d_in_, 0.0);
  double total = 0;
  for (size_t t = 0; t < sample.n; t++) {
    const float* x = sample.x + (sample.first + t) * sample.stride;
    for (size_t j = 0; j < d_in_; j++) {
      const double c = static_cast<double>(x[j]) - (sample.centre == nullptr ? 0.0 : sample.centre[j]);
      squares[j] += c * c;
      total += c * c;
    }
  }
  outliers_.clear();
  const size_t most = std::min(kMaxOutliers, d_in_ / kDimensionsPerOutlier);
  while (outliers_.size() < most) {
    const auto largest = std::max_element(squares.begin(), squares.end());
    if (!(*largest > kOutlierShare * total / static_cast<double>(d_in_))) break;
    outliers_.push_back(static_cast<uint32_t>(largest - squares.begin()));
    total -= *largest;
    *largest = 0;
  }
  std::sort(outliers_.begin(), outliers_.end());
}

void QuantisedLatents::quantise_panel(size_t at, const Kernels& kernels, const float* w_enc, float* row,
                                      int8_t* bytes) {
  const size_t first = at * kScreenPanel;
  float* outlier_weights = outlier_weights_.data() + at * kMaxOutliers * kScreenPanel;
  for (size_t i = 0; i < kScreenPanel; i++) {
    int8_t* q = bytes + i * d_pad_;
    if (first + i >= n_latents_) {
      std::memset(q, 0, d_pad_);
      continue;
    }
    const float* w = w_enc + (first + i) * d_pad_;
    std::memcpy(row, w, d_pad_ * sizeof(float));
    float outside = 0.0f;
    for (size_t o = 0; o < outliers_.size(); o++) {
      const float value = row[outliers_[o]];
      outlier_weights[o * kScreenPanel + i] = value;
      outside += value * value;
      row[outliers_[o]] = 0.0f;
    }
    const Quantised result = kernels.quantise(row, d_pad_, q);
    scale_[first + i] = result.scale;
    length_[first + i] = length_bound(result.squares + outside, d_pad_);
    error_[first + i] = length_bound(result.error_squares, d_pad_);
  }
  // Four dimensions of 64 latents side by side, as unsigned bytes.
  uint8_t* out = weights_.data() + first * d_pad_;
  for (size_t step = 0; step < steps(); step++)
    for (size_t i = 0; i < kScreenPanel; i++) {
      uint32_t four;
      std::memcpy(&four, bytes + i * d_pad_ + step * kStepDimensions, sizeof four);
      four ^= 0x80808080u;
      std::memcpy(out, &four, sizeof four);
      out += sizeof four;
    }
}

ScreenPanel QuantisedLatents::panel(size_t at) const {
  const size_t first = at * kScreenPanel;
  ScreenPanel panel{};
  panel.weights = weights_.data() + first * d_pad_;
  panel.scale = scale_.data() + first;
  panel.length = length_.data() + first;
  panel.error = error_.data() + first;
  panel.outliers = outlier_weights_.data() + at * kMaxOutliers * kScreenPanel;
  return panel;
}

// ---- tokens ----

QuantisedTokens::QuantisedTokens(const Kernels& kernels, const ScreenKernels& screen, size_t d_in, int n_workers)
    : kernels_(kernels),
      value_bytes_(screen.value_bytes),
      d_pad_(round_up(d_in, kLanes)),
      workspaces_(static_cast<size_t>(n_workers)) {
  for (Workspace& work : workspaces_) {
    work.row = AlignedArray<float>(d_pad_);
    work.bytes = AlignedArray<int8_t>(d_pad_);
  }
}

void QuantisedTokens::load(ThreadPool& pool, const TokenRows& tokens, const std::vector<uint32_t>& outliers,
                           float quantisation) {
  n_tiles_ = chunks_of(tokens.n, kTileTokens);
  n_outliers_ = outliers.size();
  const size_t n_places = n_tiles_ * kTileTokens;
  packed_.reserve(n_places * d_pad_ * value_bytes_);
  offset_.reserve(n_places);
  scale_.reserve(n_places);
  per_length_.reserve(n_places);
  per_error_.reserve(n_places);
  outlier_values_.reserve(n_tiles_ * kMaxOutliers * kTileTokens);
  const float* first = tokens.x + tokens.first * tokens.stride;
  const bool as_they_are = tokens.centre == nullptr && tokens.stride == d_pad_ && is_aligned(first);
  if (!as_they_are) centred_.reserve(n_places * d_pad_);
  rows_ = as_they_are ? first : centred_.data();

  pool.parallel_for(n_tiles_, [&](size_t tile, int worker) {
    for (size_t t = tile * kTileTokens; t < (tile + 1) * kTileTokens; t++) {
      if (t < tokens.n && !as_they_are) {
        const float* x = tokens.x + (tokens.first + t) * tokens.stride;
        float* c = centred_.data() + t * d_pad_;  // beyond d: zeros since allocation
        if (tokens.centre == nullptr)
          std::memcpy(c, x, tokens.d * sizeof(float));
        else
          for (size_t j = 0; j < tokens.d; j++) c[j] = x[j] - tokens.centre[j];
      }
      quantise_token(t, t < tokens.n ? rows_ + t * d_pad_ : nullptr, outliers, quantisation,
                     workspaces_[static_cast<size_t>(worker)]);
    }
  });
}

// `row` null: a place without a token.
void QuantisedTokens::quantise_token(size_t token, const float* row, const std::vector<uint32_t>& outliers,
                                     float quantisation, Workspace& work) {
  const size_t tile = token / kTileTokens;
  const size_t place = token % kTileTokens;
  float* values = outlier_values_.data() + tile * kMaxOutliers * kTileTokens;
  Quantised result{};
  float outside = 0.0f;
  if (row == nullptr) {
    std::memset(work.bytes.data(), 0, d_pad_);
    for (size_t o = 0; o < outliers.size(); o++) values[o * kTileTokens + place] = 0.0f;
  } else {
    std::memcpy(work.row.data(), row, d_pad_ * sizeof(float));
    for (size_t o = 0; o < outliers.size(); o++) {
      const float value = row[outliers[o]];
      values[o * kTileTokens + place] = value;
      outside += value * value;
      work.row[outliers[o]] = 0.0f;
    }
    result = kernels_.quantise(work.row.data(), d_pad_, work.bytes.data());
  }
  int32_t sum = 0;
  int32_t squares = 0;
  const int8_t* q = work.bytes.data();
  for (size_t j = 0; j < d_pad_; j++) {
    sum += q[j];
    squares += q[j] * q[j];
  }
  offset_[token] = -128 * sum;
  scale_[token] = result.scale;
  // |margin| ≤ ‖e_c‖‖w‖ + ‖s_c·q_c‖‖e_w‖ + γ‖c‖‖w‖
  const float length = length_bound(result.squares + outside, d_pad_);
  const float error = length_bound(result.error_squares, d_pad_);
  const float quantised = length_bound(result.scale * result.scale * static_cast<float>(squares), d_pad_);
  per_length_[token] = quantisation * error + rounding_share(d_pad_) * length;
  per_error_[token] = quantisation * quantised;

  // Four dimensions of six tokens side by side.
  uint8_t* out = packed_.data() + (tile * kTileTokens * d_pad_ + place * kStepDimensions) * value_bytes_;
  for (size_t j = 0; j < d_pad_; j += kStepDimensions) {
    if (value_bytes_ == 1) {
      std::memcpy(out, q + j, kStepDimensions);
    } else {
      const int16_t four[kStepDimensions] = {q[j], q[j + 1], q[j + 2], q[j + 3]};
      std::memcpy(out, four, sizeof four);
    }
    out += kTileTokens * kStepDimensions * value_bytes_;
  }
}

ScreenTile QuantisedTokens::tile(size_t at) const {
  const size_t first = at * kTileTokens;
  ScreenTile tile{};
  tile.tokens = packed_.data() + first * d_pad_ * value_bytes_;
  tile.offset = offset_.data() + first;
  tile.scale = scale_.data() + first;
  tile.outliers = outlier_values_.data() + at * kMaxOutliers * kTileTokens;
  tile.per_length = per_length_.data() + first;
  tile.per_error = per_error_.data() + first;
  return tile;
}

}  // namespace lapidary

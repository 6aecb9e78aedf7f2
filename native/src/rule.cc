#include "rule.h"

#include <algorithm>
#include <cmath>

#include "functions.h"

namespace lapidary {
namespace {

float exponential(float x) { return static_cast<float>(exp_of(static_cast<double>(x))); }

void count(float activation, Pulled& pulled) {
  pulled.min_positive = pulled.fired == 0 ? activation : std::min(pulled.min_positive, activation);
  pulled.fired++;
}

}  // namespace

Rule::Rule(const EngineShape& shape, const Parameters& weights)
    : shape_(shape), weights_(weights), floors_(shape.d_sae, 0.0f), scale_(is_gated() ? shape.d_sae : 0) {
  for (size_t i = 0; i < shape.d_sae; i++) {
    if (shape.architecture == Architecture::jumprelu) floors_[i] = exponential(weights.extra[0][i]);
    if (!is_gated()) continue;
    floors_[i] = -weights.extra[0][i];
    scale_[i] = exponential(weights.extra[1][i]);
  }
}

void Rule::activations(size_t i, const float* h, size_t n, float* out) const {
  const float floor = floors_[i];
  if (!is_gated()) {
    for (size_t t = 0; t < n; t++) out[t] = h[t] > floor ? h[t] : 0.0f;
    return;
  }
  const float scale = scale_[i];
  const float b_mag = weights_.b_enc[i];
  for (size_t t = 0; t < n; t++) {
    const float magnitude = h[t] * scale + b_mag;
    out[t] = h[t] > floor && magnitude > 0.0f ? magnitude : 0.0f;
  }
}

void Rule::gates(size_t i, const float* h, size_t n, float* out) const {
  const float b_gate = weights_.extra[0][i];
  for (size_t t = 0; t < n; t++) out[t] = std::max(h[t] + b_gate, 0.0f);
}

// rect((h − θ)/w) of jumprelu's estimators.
bool Rule::is_near(float h, float threshold) const {
  return std::fabs((static_cast<double>(h) - static_cast<double>(threshold)) / shape_.bandwidth) < 0.5;
}

size_t Rule::live(size_t i, const float* h, size_t n, uint32_t* tokens) const {
  const float floor = floors_[i];
  const bool jumps = shape_.architecture == Architecture::jumprelu;
  size_t n_live = 0;
  for (size_t t = 0; t < n; t++)
    if (h[t] > floor || (jumps && is_near(h[t], floor))) tokens[n_live++] = static_cast<uint32_t>(t);
  return n_live;
}

Pulled Rule::pull(const Column& column, const StepTerms& terms) const {
  if (is_gated()) return pull_gated(column, terms);
  return shape_.architecture == Architecture::jumprelu ? pull_jumprelu(column, terms) : pull_standard(column, terms);
}

// With y = a·n: ∂/∂y = (l1/B)·(y/‖y_b‖_p)^(p−1), and the loss is Σ y·∂/∂y, because the norm is homogeneous.
Pulled Rule::pull_standard(const Column& column, const StepTerms& terms) const {
  const double norm = static_cast<double>(column.norm);
  Pulled out;
  for (size_t b = 0; b < column.n_tokens; b++) {
    const float h = column.h[b];
    if (!(h > 0.0f)) {
      column.dh[b] = 0.0f;
      continue;
    }
    count(h, out);
    const double a = static_cast<double>(h);
    double dy = terms.per_token;
    if (terms.lengths != nullptr) {
      const double length = terms.lengths[b];
      dy *= length > 0 ? power_of(a * norm / length, shape_.lp_norm - 1.0) : 0.0;
    }
    const double dh = static_cast<double>(column.dh[b]) + dy * norm;
    out.sparsity += dy * a * norm;
    out.d_norm += dy * a;
    out.dh += dh;
    column.dh[b] = static_cast<float>(dh);
  }
  out.d_b_enc = out.dh;
  return out;
}

// No gradient passes through the indicator; that of the second reconstruction reaches the decoder too.
Pulled Rule::pull_gated(const Column& column, const StepTerms& terms) const {
  const size_t i = column.i;
  const float b_gate = weights_.extra[0][i];
  const double scale = static_cast<double>(scale_[i]);
  const double norm = static_cast<double>(column.norm);
  Pulled out;
  for (size_t b = 0; b < column.n_tokens; b++) {
    const float u = column.h[b];
    if (!(u > floors_[i])) {
      column.dh[b] = 0.0f;
      continue;
    }
    float a;
    activations(i, &u, 1, &a);
    if (a > 0.0f) count(a, out);
    const double gate = static_cast<double>(u + b_gate);
    const double d_gate = static_cast<double>(column.d_gate[b]) + terms.per_token * norm;
    const double d_mag = a > 0.0f ? static_cast<double>(column.dh[b]) : 0.0;
    const double du = d_gate + d_mag * scale;
    out.sparsity += terms.per_token * gate * norm;
    out.d_norm += terms.per_token * gate;
    out.dh += du;
    out.d_b_enc += d_mag;
    out.d_extra[0] += d_gate;
    out.d_extra[1] += d_mag * static_cast<double>(u) * scale;
    column.dh[b] = static_cast<float>(du);
  }
  return out;
}

// Straight-through estimators: ∂a/∂θ = −(θ/w)·rect((h − θ)/w), ∂1[h > θ]/∂θ = −(1/w)·rect((h − θ)/w). A dead latent's
// revival: aux = coefficient·(1/B) Σ relu(θ − h)·n.
Pulled Rule::pull_jumprelu(const Column& column, const StepTerms& terms) const {
  const float threshold = floors_[column.i];
  const double theta = static_cast<double>(threshold);
  const double norm = static_cast<double>(column.norm);
  const bool is_tanh = shape_.tanh_scale > 0;
  const double revival = terms.dead != nullptr && terms.dead[column.i] != 0 ? terms.aux_per_token : 0.0;
  Pulled out;
  double d_theta = 0;
  for (size_t b = 0; b < column.n_tokens; b++) {
    const float h = column.h[b];
    const bool fires = h > threshold;
    const double near = is_near(h, threshold) ? 1.0 / shape_.bandwidth : 0.0;
    double d_activation = fires || near > 0 ? static_cast<double>(column.dh[b]) : 0.0;
    if (fires) count(h, out);
    if (!is_tanh) {
      if (fires) out.sparsity += terms.per_token;
      d_theta -= terms.per_token * near;
    } else if (fires || near > 0) {
      const double a = fires ? static_cast<double>(h) : 0.0;
      const double steepness = tanh_of(shape_.tanh_scale * a * norm);
      const double slope = terms.per_token * shape_.tanh_scale * (1.0 - steepness * steepness);
      out.sparsity += terms.per_token * steepness;
      out.d_norm += slope * a;
      d_activation += slope * norm;
    }
    double dh = fires ? d_activation : 0.0;
    d_theta -= theta * near * d_activation;
    if (revival != 0.0 && threshold > h) {
      const double missing = theta - static_cast<double>(h);
      out.aux += revival * missing * norm;
      out.d_norm += revival * missing;
      d_theta += revival * norm;
      dh -= revival * norm;
    }
    out.dh += dh;
    column.dh[b] = static_cast<float>(dh);
  }
  out.d_b_enc = out.dh;
  out.d_extra[0] = theta * d_theta;
  return out;
}

}  // namespace lapidary

// When a latent of a dense architecture fires, and what pulls at it: native twin of src/kernels/reference/dense/. With
// c the centred input and n = ‖wDec[i]‖:
//   standard   h = c·wEncᵀ + bEnc      a = relu(h)                              sparsity: ‖a·n‖_p
//   jumprelu   h = c·wEncᵀ + bEnc      a = h·1[h > θ], θ = exp(log θ)           sparsity: Σ 1[h > θ], or Σ tanh(scale·a·n)
//   gated      h = c·wEncᵀ, g = h + bGate      a = 1[g > 0]·relu(h·eʳ + bMag)   sparsity: Σ relu(g)·n
// A number a latent or a token is summed in f64, in order, and rounded once; what is multiplied with rows is fp32.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine.h"

namespace lapidary {

// One latent at all tokens of a batch, on the way back.
struct Column {
  size_t i;
  float norm;
  size_t n_tokens;
  const float* h;
  const float* d_gate;  // gated: ∂/∂relu(g) of its second reconstruction's loss, where the latent is live
  float* dh;            // holds ∂/∂a of the reconstruction's loss where the latent is live, and becomes ∂L/∂h everywhere
};

// What a column adds to the losses and to the gradients that are a number a latent.
struct Pulled {
  double sparsity = 0;
  double aux = 0;
  double d_norm = 0;
  double dh = 0;  // Σ_b ∂L/∂h
  double d_b_enc = 0;
  double d_extra[2] = {};
  uint32_t fired = 0;
  float min_positive = 0;  // 0: never fired
};

// What a step knows when it is known who fires.
struct StepTerms {
  double per_token;        // coefficient of the sparsity loss / B
  double aux_per_token;    // of the loss that revives dead latents / B
  const uint8_t* dead;     // [dSae]; null: no such loss
  const double* lengths;   // [B] ‖a[b]·n‖_p; null: p is 1
};

// An architecture at the weights of one moment.
class Rule {
 public:
  Rule(const EngineShape& shape, const Parameters& weights);

  bool is_gated() const { return shape_.architecture == Architecture::gated; }
  const float* bias() const { return is_gated() ? nullptr : weights_.b_enc.data(); }  // of h
  const float* floors() const { return floors_.data(); }  // [dSae]: none fires unless h exceeds it

  // a, and of a gated SAE relu(g), of latent i at n tokens.
  void activations(size_t i, const float* h, size_t n, float* out) const;
  void gates(size_t i, const float* h, size_t n, float* out) const;

  // The tokens at which a change of a would be felt, ascending: where it is differentiated.
  size_t live(size_t i, const float* h, size_t n, uint32_t* tokens) const;

  Pulled pull(const Column& column, const StepTerms& terms) const;

 private:
  Pulled pull_standard(const Column& column, const StepTerms& terms) const;
  Pulled pull_gated(const Column& column, const StepTerms& terms) const;
  Pulled pull_jumprelu(const Column& column, const StepTerms& terms) const;
  bool is_near(float h, float threshold) const;

  const EngineShape& shape_;
  const Parameters& weights_;
  std::vector<float> floors_;  // standard 0, jumprelu θ, gated −bGate
  std::vector<float> scale_;   // gated: eʳ
};

}  // namespace lapidary

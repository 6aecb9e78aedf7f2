// Reconstruction from sparse activations: x̂ = bDec + Σ_i (a_i / n_i) · wDec[i], latents ascending, one fma each,
// starting from bDec. Without rescaling a_i itself.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "engine.h"
#include "ranges.h"

namespace lapidary {
namespace {

// Everything that `decode` relies on; an error names the first token that breaks it.
void check(const SparseView& acts, size_t d_sae) {
  if (acts.offsets[0] != 0 || acts.offsets[acts.n_tokens] != acts.n)
    throw std::invalid_argument("offsets of sparse activations do not start at 0 and end at the number of entries");
  for (size_t t = 0; t < acts.n_tokens; t++) {
    if (acts.offsets[t] > acts.offsets[t + 1] || acts.offsets[t + 1] > acts.n)
      throw std::invalid_argument("offsets of sparse activations fall at token " + std::to_string(t));
    for (size_t e = acts.offsets[t]; e < acts.offsets[t + 1]; e++) {
      const bool ascending = e == acts.offsets[t] || acts.latents[e - 1] < acts.latents[e];
      if (acts.latents[e] >= d_sae || !ascending)
        throw std::invalid_argument("token " + std::to_string(t) + " has latent " + std::to_string(acts.latents[e]) +
                                    ": latents must ascend and lie below " + std::to_string(d_sae));
    }
  }
}

}  // namespace

void Engine::decode(const SparseView& acts, size_t width, float* out) {
  check(acts, shape_.d_sae);
  const size_t d_pad = shape_.d_pad();
  struct Workspace {
    AlignedArray<float> recon;
    std::vector<float> coef;
  };
  std::vector<Workspace> workspaces(static_cast<size_t>(pool_.size()));
  for (Workspace& work : workspaces) work.recon = AlignedArray<float>(d_pad);

  for_each(pool_, acts.n_tokens, kTokensAtOnce, [&](size_t t, int worker) {
    Workspace& work = workspaces[static_cast<size_t>(worker)];
    const uint32_t* begin = acts.latents + acts.offsets[t];
    const uint32_t* end = std::lower_bound(begin, acts.latents + acts.offsets[t + 1], width);
    const size_t n = static_cast<size_t>(end - begin);
    work.coef.assign(acts.values + acts.offsets[t], acts.values + acts.offsets[t] + n);
    // A decoder row of norm zero has no direction and decodes to nothing.
    if (shape_.rescale_by_decoder_norm)
      for (size_t e = 0; e < n; e++) work.coef[e] = norms_[begin[e]] > 0 ? work.coef[e] / norms_[begin[e]] : 0.0f;
    std::memcpy(work.recon.data(), weights_.b_dec.data(), d_pad * sizeof(float));
    kernels_.gather(work.recon.data(), weights_.w_dec.data(), d_pad, d_pad, begin, work.coef.data(), n);
    std::memcpy(out + t * shape_.d_in, work.recon.data(), shape_.d_in * sizeof(float));
  });
}

}  // namespace lapidary

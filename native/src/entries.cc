#include "entries.h"

#include <stdexcept>

namespace lapidary {
namespace {

// counts[i + 1] entries of kind i → begin[i], in place.
void accumulate(std::vector<uint32_t>& counts) {
  for (size_t i = 1; i < counts.size(); i++) counts[i] += counts[i - 1];
}

}  // namespace

Entries order_entries(const std::vector<Hit>& hits, size_t n_tokens, size_t n_latents) {
  if (hits.size() >= UINT32_MAX) throw std::length_error("more than 2^32 activations in one batch: encode fewer tokens");
  const size_t n = hits.size();
  Entries out;
  out.token_begin.assign(n_tokens + 1, 0);
  out.latent_begin.assign(n_latents + 1, 0);
  for (const Hit& hit : hits) {
    out.token_begin[hit.token + 1]++;
    out.latent_begin[hit.latent + 1]++;
  }
  accumulate(out.token_begin);
  accumulate(out.latent_begin);

  // Three counting sorts: by token; from there by latent, which leaves tokens ascending; from there by token again,
  // which leaves latents ascending.
  std::vector<uint32_t> next(out.token_begin.begin(), out.token_begin.end() - 1);
  std::vector<uint32_t> by_token(n);
  for (size_t i = 0; i < n; i++) by_token[next[hits[i].token]++] = static_cast<uint32_t>(i);

  next.assign(out.latent_begin.begin(), out.latent_begin.end() - 1);
  std::vector<uint32_t> by_latent(n);
  for (const uint32_t i : by_token) by_latent[next[hits[i].latent]++] = i;

  next.assign(out.token_begin.begin(), out.token_begin.end() - 1);
  out.latent.resize(n);
  out.h.resize(n);
  out.p.resize(n);
  out.place.resize(n);
  out.token.resize(n);
  out.h_by_latent.resize(n);
  for (size_t q = 0; q < n; q++) {
    const Hit& hit = hits[by_latent[q]];
    out.token[q] = hit.token;
    out.h_by_latent[q] = hit.h;
    const uint32_t e = next[hit.token]++;
    out.latent[e] = hit.latent;
    out.h[e] = hit.h;
    out.p[e] = hit.p;
    out.place[e] = static_cast<uint32_t>(q);
  }
  return out;
}

}  // namespace lapidary

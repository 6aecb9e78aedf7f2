// Selected entries in the two orders in which they are needed: by token for reconstructions, by latent for gradients.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "thread_pool.h"

namespace lapidary {

struct Entries {
  size_t size() const { return latent.size(); }

  // By token: token t owns token_begin[t] … token_begin[t+1], latents ascending.
  std::vector<uint32_t> token_begin;  // [n_tokens + 1]
  std::vector<uint32_t> latent;       // [n]
  std::vector<float> h;               // [n]
  std::vector<float> p;               // [n]
  std::vector<uint32_t> place;        // [n] where the entry stands in the other order

  // By latent: latent i owns latent_begin[i] … latent_begin[i+1], tokens ascending.
  std::vector<uint32_t> latent_begin;  // [n_latents + 1]
  std::vector<uint32_t> token;         // [n]
  std::vector<float> h_by_latent;      // [n]
};

// Orders hits that come in any order.
Entries order_entries(ThreadPool& pool, const std::vector<Hit>& hits, size_t n_tokens, size_t n_latents);

}  // namespace lapidary

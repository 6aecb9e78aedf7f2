// One SAE's weights, its optimizer state, and what can be done with them. No JavaScript here: pointers, sizes, counts.
// Calls must not overlap.
//
// Rows are stored with d_pad = dIn rounded up to 16 values, the padding zero; arrays over latents are padded to 64.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "aligned_array.h"
#include "dense.h"
#include "entries.h"
#include "kernels/kernels.h"
#include "screen.h"
#include "thread_pool.h"

namespace lapidary {

// How latents come to fire: chosen by size, or by a rule of their own that is learnt (rule.h).
enum class Architecture { by_size = 0, standard = 1, gated = 2, jumprelu = 3 };

struct EngineShape {
  size_t d_in;
  size_t d_sae;
  std::vector<uint32_t> widths;  // strictly increasing, the last is d_sae
  bool apply_b_dec_to_input;
  bool rescale_by_decoder_norm;
  bool training;
  bool bf16_moments = false;
  Architecture architecture = Architecture::by_size;
  double lp_norm = 1;     // standard
  double bandwidth = 1;   // jumprelu
  double tanh_scale = 0;  // jumprelu; 0: the sparsity loss counts who fires

  size_t d_pad() const { return round_up(d_in, kLanes); }
  size_t latents_pad() const { return round_up(d_sae, kMaxPanel); }
  // Parameters beside the four: gated: bGate, rMag; jumprelu: log θ.
  size_t n_extra() const {
    return architecture == Architecture::gated ? 2 : architecture == Architecture::jumprelu ? 1 : 0;
  }
};

using Extra = std::vector<AlignedArray<float>>;  // [latents_pad] each

inline Extra make_extra(const EngineShape& shape) {
  Extra extra;
  for (size_t i = 0; i < shape.n_extra(); i++) extra.emplace_back(shape.latents_pad());
  return extra;
}

// Everything that is learnt. A gated SAE's b_enc is its bMag.
struct Parameters {
  Parameters() = default;
  explicit Parameters(const EngineShape& shape)
      : w_enc(shape.d_sae * shape.d_pad()),
        w_dec(shape.d_sae * shape.d_pad()),
        b_enc(shape.latents_pad()),
        b_dec(shape.d_pad()),
        extra(make_extra(shape)) {}

  AlignedArray<float> w_enc;  // [dSae][d_pad]
  AlignedArray<float> w_dec;  // [dSae][d_pad]
  AlignedArray<float> b_enc;  // [latents_pad]
  AlignedArray<float> b_dec;  // [d_pad]
  Extra extra;
};

// One of Adam's moments. Those of the matrices are fp32, or bf16 in half the memory.
struct Moment {
  Moment() = default;
  explicit Moment(const EngineShape& shape)
      : wide_enc(shape.bf16_moments ? 0 : shape.d_sae * shape.d_pad()),
        wide_dec(wide_enc.size()),
        narrow_enc(shape.bf16_moments ? shape.d_sae * shape.d_pad() : 0),
        narrow_dec(narrow_enc.size()),
        b_enc(shape.latents_pad()),
        b_dec(shape.d_pad()),
        extra(make_extra(shape)) {}

  AlignedArray<float> wide_enc;       // [dSae][d_pad], or nothing
  AlignedArray<float> wide_dec;       // the same
  AlignedArray<uint16_t> narrow_enc;  // [dSae][d_pad], or nothing
  AlignedArray<uint16_t> narrow_dec;  // the same
  AlignedArray<float> b_enc;          // [latents_pad]
  AlignedArray<float> b_dec;          // [d_pad]
  Extra extra;
};

// How entries are searched for. The screen with all of its margin finds what the dense product finds; with a margin of
// so many standard deviations of the quantisation error it hardly ever misses one, and computes fewer exactly.
enum class SearchMode { dense = 0, rigorous = 1, statistical = 2 };

struct Search {
  SearchMode mode = SearchMode::rigorous;
  double sigmas = 0;  // statistical
};

// own: whoever fires by the architecture's own rule.
enum class SelectionKind { batch_topk = 0, topk = 1, threshold = 2, own = 3 };

struct Selection {
  SelectionKind kind;
  size_t count;             // batch_topk: entries in the whole batch; topk: entries per token
  const float* thresholds;  // threshold: [dSae]
};

struct SparseView {
  size_t n_tokens;
  const uint32_t* offsets;  // [n_tokens + 1]
  const uint32_t* latents;  // [n], ascending within a token
  const float* values;      // [n], in units of p
  size_t n;
};

// From extra on: the architecture's own, in the order of EngineShape::n_extra.
enum class TensorName { w_enc = 0, w_dec = 1, b_enc = 2, b_dec = 3, extra = 4 };
enum class TensorOwner { weights = 0, first_moment = 1, second_moment = 2 };

struct StepOptions {
  Selection selection;
  double learning_rate;
  double adam_step;  // 1-based
  double beta1;
  double beta2;
  double epsilon;
  double clip_norm;  // +inf: none
  double aux_coefficient;
  double sparsity;      // coefficient of the sparsity loss; by_size: none
  const uint8_t* dead;  // [dSae]; null: no auxiliary loss
  const uint32_t* audit_tokens;  // [n_audit] of the batch, in any order; null: no audit
  size_t n_audit;
};

struct StepResult {
  double loss = 0;
  double mse = 0;
  std::vector<double> inner_mse;
  double aux = 0;
  double sparsity = 0;
  double l0 = 0;
  double grad_norm = 0;
  float min_positive = 0;  // 0: nothing was positive
  std::vector<uint32_t> fired;
  size_t audit_entries = 0;  // selected on the audited tokens
  size_t audit_missed = 0;   // not found, though larger than the smallest that was selected
};

// Seconds that the phases of the last step took.
struct StepProfile {
  double encode = 0;       // quantising, screen, exact products, selection
  double reconstruct = 0;  // ordering entries, reconstructions, dh
  double aux = 0;
  double gradients = 0;  // norms of all gradients
  double update = 0;     // gradients again, Adam
  ScreenCost cost;       // of the selection
  int searches = 0;      // 1, and one more for each guess that was too high
};

class DenseStep;
class TrainStep;

class Engine {
 public:
  Engine(EngineShape shape, const Kernels& kernels, const ScreenKernels& screen, int n_threads);
  ~Engine();

  const EngineShape& shape() const { return shape_; }
  const Kernels& kernels() const { return kernels_; }
  int n_threads() const { return pool_.size(); }
  const StepProfile& profile() const { return profile_; }
  void set_search(Search search) { search_ = search; }

  // x [n_tokens][dIn]
  Entries encode(const float* x, size_t n_tokens, const Selection& selection);

  // out [n_tokens][dIn]: x̂ from the latents below `width`. Throws std::invalid_argument for latents out of order or range.
  void decode(const SparseView& acts, size_t width, float* out);

  StepResult train_step(const float* x, size_t n_tokens, const StepOptions& options);

  // Rows [first, first + n) of a tensor, without padding.
  void read(TensorOwner owner, TensorName name, size_t first, size_t n, float* out);
  void write(TensorOwner owner, TensorName name, size_t first, size_t n, const float* rows);
  size_t row_width(TensorName name) const;
  size_t row_count(TensorName name) const;

  const float* norms() const { return norms_.data(); }

 private:
  friend class DenseStep;
  friend class TrainStep;
  friend class Update;

  struct TensorView {
    float* data;       // null: the values are in `narrow`
    uint16_t* narrow;  // bf16
    size_t stride;
    size_t width;
  };
  TensorView tensor(TensorOwner owner, TensorName name);
  LatentRows latent_rows() const;
  Entries select(const TokenRows& tokens, const Selection& selection);
  void search(const TokenRows& tokens, const LatentRows& latents, HitSink& sink);
  std::vector<Hit> select_batch_topk(const TokenRows& tokens, size_t count);
  float guess_cut(const TokenRows& tokens, size_t count);
  std::vector<Hit> select_own(const TokenRows& tokens);
  std::vector<Hit> select_topk(const TokenRows& tokens, const LatentRows& latents, size_t k, float floor);
  void refresh_norms(size_t first, size_t n);

  const EngineShape shape_;
  const Kernels& kernels_;
  ThreadPool pool_;
  DenseSearch dense_;
  Screen screen_;
  Search search_;
  Parameters weights_;
  Moment first_moment_;
  Moment second_moment_;
  AlignedArray<float> norms_;  // ‖wDec[i]‖ [latents_pad]
  float last_cut_ = 0.0f;      // of batch top-k; 0: none yet
  float cut_moves_ = 0.01f;    // by what share it has lately moved from batch to batch, on average
  std::unique_ptr<TrainStep> train_step_;  // by_size
  std::unique_ptr<DenseStep> dense_step_;  // all others
  StepProfile profile_;
};

}  // namespace lapidary

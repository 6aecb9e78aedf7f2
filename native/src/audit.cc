// Was anything missed? On some tokens the dense product is computed, and what lies above the cut is counted against what
// was selected. For the statistical margin; with the rigorous one nothing ever is.
#include <algorithm>
#include <cstring>

#include "train_step.h"

namespace lapidary {
namespace {

// Counts the entries above each token's floor.
class Counter : public HitSink {
 public:
  Counter(std::vector<float> floors, int n_workers) : floors_(std::move(floors)), counts_(static_cast<size_t>(n_workers)) {}
  void floors(size_t first, size_t n, float* out) override { std::copy_n(floors_.data() + first, n, out); }
  void take(int worker, const Hit*, size_t n) override { counts_[static_cast<size_t>(worker)].n += n; }
  size_t total() const {
    size_t sum = 0;
    for (const Count& count : counts_) sum += count.n;
    return sum;
  }

 private:
  struct alignas(64) Count {
    size_t n = 0;
  };
  std::vector<float> floors_;
  std::vector<Count> counts_;
};

}  // namespace

void TrainStep::audit(const StepOptions& options, StepResult& result) {
  const Entries& entries = main_.entries;
  const bool whole_batch = options.selection.kind == SelectionKind::batch_topk;
  const auto smallest = [&](size_t begin, size_t end, size_t wanted) {
    return end - begin < wanted || begin == end ? 0.0f : *std::min_element(&entries.p[begin], &entries.p[0] + end);
  };
  const float cut = whole_batch ? smallest(0, entries.size(), options.selection.count) : 0.0f;

  std::vector<float> floors(options.n_audit);
  AlignedArray<float> rows(options.n_audit * d_pad_);
  size_t found = 0;
  for (size_t i = 0; i < options.n_audit; i++) {
    const size_t token = options.audit_tokens[i];
    const size_t begin = entries.token_begin[token];
    const size_t end = entries.token_begin[token + 1];
    floors[i] = whole_batch ? cut : smallest(begin, end, options.selection.count);
    for (size_t e = begin; e < end; e++) found += static_cast<size_t>(entries.p[e] > floors[i]);
    result.audit_entries += end - begin;
    std::memcpy(rows.data() + i * d_pad_, batch_.c() + token * d_pad_, d_pad_ * sizeof(float));
  }
  Counter above(std::move(floors), engine_.pool_.size());
  engine_.dense_.score({rows.data(), d_pad_, d_pad_, nullptr, 0, options.n_audit}, engine_.latent_rows(), above);
  result.audit_missed = above.total() - found;
}

}  // namespace lapidary

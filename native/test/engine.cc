// A few training steps and encodings of small SAEs, on every instruction set that this machine has, with 1 and with 3
// threads, by screening and by the dense product, and one hash of everything that comes out: weights, moments, losses,
// activations. Like parity.cc it needs neither Node nor a framework. Exit status 1: two runs differ.
#include <cinttypes>
#include <cstdio>

#include "../src/cpu.h"
#include "../src/engine.h"
#include "data.h"

namespace lapidary::test {
namespace {

struct Case {
  size_t d_in;
  std::vector<uint32_t> widths;
  size_t n_tokens;
  size_t k;
  bool apply_b_dec_to_input;
  bool rescale;
  bool bf16_moments;
};

// Standard, gated and jumprelu SAEs of dIn, dSae and so many tokens; few of their latents fire where biases are low.
struct DenseCase {
  Architecture architecture;
  double lp_norm;
  double tanh_scale;
  size_t d_in;
  size_t d_sae;
  size_t n_tokens;
  float bias;
  bool apply_b_dec_to_input;
  bool bf16_moments;
};

const DenseCase kDenseCases[] = {
    {Architecture::standard, 1, 0, 24, 70, 53, 0.0f, true, false},
    {Architecture::standard, 1.5, 0, 150, 130, 111, -1.0f, false, true},
    {Architecture::gated, 1, 0, 150, 90, 61, 0.0f, true, false},
    {Architecture::gated, 1, 0, 40, 150, 300, -1.0f, false, false},
    {Architecture::jumprelu, 1, 0, 24, 150, 270, -1.0f, true, false},
    {Architecture::jumprelu, 1, 2, 150, 70, 50, 0.0f, true, true},
};

const Case kCases[] = {
    {24, {40, 150}, 70, 5, true, true, false},          // too small to be screened, a last tile that is not full
    {150, {64, 128, 260}, 130, 8, false, true, false},  // more than one block of dimensions
    {40, {100, 290}, 151, 6, true, false, true},
    {16, {64}, 1, 3, true, true, false},  // a single token
};

void fill(Engine& engine, Random& random) {
  const EngineShape& shape = engine.shape();
  const auto write = [&](TensorName name, int exponent) {
    AlignedArray<float> rows = values(random, engine.row_count(name) * engine.row_width(name));
    for (size_t i = 0; i < rows.size(); i++) rows[i] = scaled(rows[i], exponent);
    engine.write(TensorOwner::weights, name, 0, engine.row_count(name), rows.data());
  };
  write(TensorName::w_enc, shape.d_in > 100 ? -3 : -2);
  write(TensorName::w_dec, shape.d_in > 100 ? -3 : -2);
  write(TensorName::b_enc, -4);
  write(TensorName::b_dec, -2);
}

// Tokens whose first dimension outweighs the others, as in language models.
AlignedArray<float> batch(Random& random, const Case& c) {
  AlignedArray<float> x = values(random, c.n_tokens * c.d_in);
  for (size_t t = 0; t < c.n_tokens; t++) x[t * c.d_in] = 40.0f * x[t * c.d_in] + 100.0f;
  return x;
}

StepOptions options_of(int step, const std::vector<uint8_t>& dead) {
  StepOptions options{};
  options.learning_rate = 3e-3;
  options.adam_step = step;
  options.beta1 = 0.9;
  options.beta2 = 0.999;
  options.epsilon = 1e-8;
  options.clip_norm = 1.0;
  options.aux_coefficient = 1.0 / 32;
  options.dead = step == 2 ? nullptr : dead.data();
  return options;
}

void hash_entries(const Entries& entries, Hash& hash) {
  hash.numbers(entries.token_begin.data(), entries.token_begin.size());
  hash.numbers(entries.latent.data(), entries.size());
  hash.numbers(entries.p.data(), entries.size());
}

void hash_result(const StepResult& result, Hash& hash) {
  for (const double number : {result.loss, result.mse, result.aux, result.sparsity, result.l0, result.grad_norm})
    hash.number(number);
  hash.numbers(result.inner_mse.data(), result.inner_mse.size());
  hash.number(result.min_positive);
  hash.numbers(result.fired.data(), result.fired.size());
}

void hash_tensors(Engine& engine, Hash& hash) {
  const int n_tensors = static_cast<int>(TensorName::extra) + static_cast<int>(engine.shape().n_extra());
  for (const TensorOwner owner : {TensorOwner::weights, TensorOwner::first_moment, TensorOwner::second_moment})
    for (int tensor = 0; tensor < n_tensors; tensor++) {
      const TensorName name = static_cast<TensorName>(tensor);
      AlignedArray<float> rows(engine.row_count(name) * engine.row_width(name));
      engine.read(owner, name, 0, engine.row_count(name), rows.data());
      hash.numbers(rows.data(), rows.size());
    }
}

struct Setting {
  const Kernels* kernels;
  const ScreenKernels* screen;
  int n_threads;
  SearchMode search;
};

// Returns how many exact products the screen asked for.
uint64_t run(const Case& c, const Setting& setting, Hash& hash) {
  Random random(c.d_in);
  const size_t d_sae = c.widths.back();
  Engine engine({c.d_in, d_sae, c.widths, c.apply_b_dec_to_input, c.rescale, true, c.bf16_moments}, *setting.kernels,
                *setting.screen, setting.n_threads);
  engine.set_search({setting.search, 0});
  fill(engine, random);

  std::vector<uint8_t> dead(d_sae);
  for (uint8_t& each : dead) each = random.below(4) == 0;
  uint64_t candidates = 0;
  for (int step = 1; step <= 4; step++) {
    const AlignedArray<float> x = batch(random, c);
    StepOptions options = options_of(step, dead);
    options.selection = step == 3 ? Selection{SelectionKind::topk, c.k, nullptr}
                                  : Selection{SelectionKind::batch_topk, c.k * c.n_tokens, nullptr};
    hash_result(engine.train_step(x.data(), c.n_tokens, options), hash);
    candidates += engine.profile().cost.candidates;
  }
  hash_tensors(engine, hash);

  const AlignedArray<float> x = batch(random, c);
  AlignedArray<float> thresholds(d_sae);
  for (size_t i = 0; i < d_sae; i++) thresholds[i] = random.uniform() + 1.0f;
  for (const Selection& selection : {Selection{SelectionKind::batch_topk, c.k * c.n_tokens, nullptr},
                                     Selection{SelectionKind::topk, c.k, nullptr},
                                     Selection{SelectionKind::threshold, 0, thresholds.data()}}) {
    const Entries entries = engine.encode(x.data(), c.n_tokens, selection);
    hash_entries(entries, hash);
    AlignedArray<float> decoded(c.n_tokens * c.d_in);
    engine.decode({c.n_tokens, entries.token_begin.data(), entries.latent.data(), entries.p.data(), entries.size()},
                  d_sae, decoded.data());
    hash.numbers(decoded.data(), decoded.size());
    candidates += engine.profile().cost.candidates;
  }
  return candidates;
}

void run_dense(const DenseCase& c, const Setting& setting, Hash& hash) {
  Random random(c.d_in + c.d_sae);
  EngineShape shape{c.d_in, c.d_sae, {static_cast<uint32_t>(c.d_sae)}, c.apply_b_dec_to_input, false, true,
                    c.bf16_moments};
  shape.architecture = c.architecture;
  shape.lp_norm = c.lp_norm;
  shape.bandwidth = 0.25;
  shape.tanh_scale = c.tanh_scale;
  Engine engine(shape, *setting.kernels, *setting.screen, setting.n_threads);
  engine.set_search({setting.search, 0});
  fill(engine, random);
  const auto write = [&](int tensor, float around) {
    AlignedArray<float> rows = values(random, c.d_sae);
    for (size_t i = 0; i < c.d_sae; i++) rows[i] = around + 0.25f * rows[i];
    engine.write(TensorOwner::weights, static_cast<TensorName>(tensor), 0, c.d_sae, rows.data());
  };
  write(static_cast<int>(TensorName::b_enc), c.bias);
  for (size_t extra = 0; extra < shape.n_extra(); extra++)
    write(static_cast<int>(TensorName::extra) + static_cast<int>(extra), extra == 0 ? c.bias : 0.0f);

  std::vector<uint8_t> dead(c.d_sae);
  for (uint8_t& each : dead) each = random.below(4) == 0;
  for (int step = 1; step <= 3; step++) {
    const AlignedArray<float> x = values(random, c.n_tokens * c.d_in);
    StepOptions options = options_of(step, dead);
    options.selection = {SelectionKind::own, 0, nullptr};
    options.sparsity = 0.1 * step;
    hash_result(engine.train_step(x.data(), c.n_tokens, options), hash);
  }
  hash_tensors(engine, hash);
  const AlignedArray<float> x = values(random, c.n_tokens * c.d_in);
  hash_entries(engine.encode(x.data(), c.n_tokens, {SelectionKind::own, 0, nullptr}), hash);
}

// One line an instruction set: engine=hash.
int main() {
  std::vector<Setting> sets;
  for (int isa = 1; isa < kIsaCount; isa++) {
    const Kernels* kernels = kernels_for(static_cast<Isa>(isa));
    if (kernels != nullptr) sets.push_back({kernels, screen_for(static_cast<Isa>(isa)), 1, SearchMode::rigorous});
  }
#ifdef LAPIDARY_EVEX_VNNI
  if (cpu_features().avx512_vnni) sets.push_back({&kAvx2Kernels, &kAvxVnniScreen, 1, SearchMode::rigorous});
#endif
  bool same = true;
  uint64_t expected = 0;
  for (Setting setting : sets) {
    std::printf("%s, screen %s:", setting.kernels->name, setting.screen->name);
    for (setting.n_threads = 1; setting.n_threads <= 3; setting.n_threads += 2)
      for (const SearchMode mode : {SearchMode::rigorous, SearchMode::dense}) {
        setting.search = mode;
        Hash hash;
        uint64_t candidates = 0;
        for (const Case& c : kCases) candidates += run(c, setting, hash);
        for (const DenseCase& c : kDenseCases) run_dense(c, setting, hash);
        if (expected == 0) expected = hash.value();
        same = same && hash.value() == expected && (candidates > 0) == (mode == SearchMode::rigorous);
        std::printf(" engine=%016" PRIx64, hash.value());
      }
    std::printf("\n");
  }
  return same ? 0 : 1;
}

}  // namespace
}  // namespace lapidary::test

int main() { return lapidary::test::main(); }

// What lapidary.wasm exports: one engine an instance. src/kernels/wasm/instance.ts mirrors it in types, validates what
// people pass, and brings arrays in and out; change both, and raise kInterface.
//
// There are no exceptions here: `fail`, which the host provides, throws in JavaScript and unwinds these frames without
// running destructors. An instance that failed is not used again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "../src/engine.h"

#define LAPIDARY_EXPORT(name) extern "C" __attribute__((export_name(name)))

namespace lapidary {
extern const Kernels kWasmKernels;
extern const ScreenKernels kWasmScreen;
}

namespace {

using namespace lapidary;

constexpr int kInterface = 2;

std::unique_ptr<Engine> engine;
// What the last call left to be copied out, until `forget`.
Entries entries;
StepResult step;
std::vector<double> numbers;

Selection selection_of(uint32_t kind, size_t count, const float* thresholds) {
  return {static_cast<SelectionKind>(kind), count, thresholds};
}

}  // namespace

LAPIDARY_EXPORT("interfaceVersion") int interface_version() { return kInterface; }

// Memory for arguments and results; null if there is none left.
LAPIDARY_EXPORT("allocate") void* allocate(size_t bytes) { return std::aligned_alloc(64, round_up(bytes, 64)); }
LAPIDARY_EXPORT("release") void release(void* memory) { std::free(memory); }

// architecture: [kind, lpNorm, bandwidth, tanhScale], see EngineShape.
LAPIDARY_EXPORT("create")
void create(size_t d_in, size_t d_sae, const uint32_t* widths, size_t n_widths, int centred, int rescaled, int training,
            int bf16_moments, const double* architecture) {
  EngineShape shape;
  shape.d_in = d_in;
  shape.d_sae = d_sae;
  shape.widths.assign(widths, widths + n_widths);
  shape.apply_b_dec_to_input = centred != 0;
  shape.rescale_by_decoder_norm = rescaled != 0;
  shape.training = training != 0;
  shape.bf16_moments = bf16_moments != 0;
  shape.architecture = static_cast<Architecture>(static_cast<int>(architecture[0]));
  shape.lp_norm = architecture[1];
  shape.bandwidth = architecture[2];
  shape.tanh_scale = architecture[3];
  engine = std::make_unique<Engine>(std::move(shape), kWasmKernels, kWasmScreen, 1);
}

// Modes: SearchMode.
LAPIDARY_EXPORT("setSearch") void set_search(uint32_t mode, double sigmas) {
  engine->set_search({static_cast<SearchMode>(mode), sigmas});
}

// x [n_tokens][dIn] → number of activations; then `offsets` [n_tokens + 1], `latents` and `values`.
LAPIDARY_EXPORT("encode")
size_t encode(const float* x, size_t n_tokens, uint32_t kind, size_t count, const float* thresholds) {
  entries = engine->encode(x, n_tokens, selection_of(kind, count, thresholds));
  return entries.size();
}
LAPIDARY_EXPORT("offsets") const uint32_t* offsets() { return entries.token_begin.data(); }
LAPIDARY_EXPORT("latents") const uint32_t* latents() { return entries.latent.data(); }
LAPIDARY_EXPORT("values") const float* values() { return entries.p.data(); }

// out [n_tokens][dIn]
LAPIDARY_EXPORT("decode")
void decode(size_t n_tokens, size_t n, const uint32_t* offsets, const uint32_t* latents, const float* values,
            size_t width, float* out) {
  engine->decode({n_tokens, offsets, latents, values, n}, width, out);
}

// settings: [learningRate, adamStep, beta1, beta2, epsilon, clipNorm, auxCoefficient, sparsity]; dead [dSae] or null;
// audited [n_audited] or null
// → [loss, mse, aux, sparsity, l0, gradNorm, minPositive (0: none), auditEntries, auditMissed, n, mse at each of n smaller widths];
// then `fired` [dSae].
LAPIDARY_EXPORT("trainStep")
const double* train_step(const float* x, size_t n_tokens, uint32_t kind, size_t count, const double* settings,
                         const uint8_t* dead, const uint32_t* audited, size_t n_audited) {
  StepOptions options{};
  options.selection = selection_of(kind, count, nullptr);
  options.learning_rate = settings[0];
  options.adam_step = settings[1];
  options.beta1 = settings[2];
  options.beta2 = settings[3];
  options.epsilon = settings[4];
  options.clip_norm = settings[5];
  options.aux_coefficient = settings[6];
  options.sparsity = settings[7];
  options.dead = dead;
  options.audit_tokens = audited;
  options.n_audit = n_audited;
  step = engine->train_step(x, n_tokens, options);
  numbers = {step.loss,
             step.mse,
             step.aux,
             step.sparsity,
             step.l0,
             step.grad_norm,
             static_cast<double>(step.min_positive),
             static_cast<double>(step.audit_entries),
             static_cast<double>(step.audit_missed),
             static_cast<double>(step.inner_mse.size())};
  numbers.insert(numbers.end(), step.inner_mse.begin(), step.inner_mse.end());
  return numbers.data();
}
LAPIDARY_EXPORT("fired") const uint32_t* fired() { return step.fired.data(); }

// Of the last call, in seconds and numbers:
// [encode, quantise, screen, refine, candidates, searches, reconstruct, aux, gradients, update].
LAPIDARY_EXPORT("profile") const double* profile() {
  const StepProfile& last = engine->profile();
  numbers = {last.encode,
             last.cost.quantise,
             last.cost.screen,
             last.cost.refine,
             static_cast<double>(last.cost.candidates),
             static_cast<double>(last.searches),
             last.reconstruct,
             last.aux,
             last.gradients,
             last.update};
  return numbers.data();
}

// [dSae]
LAPIDARY_EXPORT("norms") const float* norms() { return engine->norms(); }

// Owners and names: TensorOwner, TensorName.
LAPIDARY_EXPORT("read") void read(int owner, int name, size_t first, size_t n, float* out) {
  engine->read(static_cast<TensorOwner>(owner), static_cast<TensorName>(name), first, n, out);
}
LAPIDARY_EXPORT("write") void write(int owner, int name, size_t first, size_t n, const float* rows) {
  engine->write(static_cast<TensorOwner>(owner), static_cast<TensorName>(name), first, n, rows);
}

// Gives back what the last call left.
LAPIDARY_EXPORT("forget") void forget() {
  entries = Entries();
  step = StepResult();
}

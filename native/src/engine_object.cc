#include "engine_object.h"

#include <cstring>
#include <limits>
#include <string>

#include "cpu.h"
#include "task.h"

namespace lapidary {
namespace {

[[noreturn]] void refuse(Napi::Env env, const std::string& message) { throw Napi::TypeError::New(env, message); }

size_t size_argument(const Napi::CallbackInfo& info, size_t at, const char* what) {
  const double value = info[at].IsNumber() ? info[at].As<Napi::Number>().DoubleValue() : -1;
  if (!(value >= 0 && value <= 9007199254740991.0 && value == static_cast<double>(static_cast<uint64_t>(value))))
    refuse(info.Env(), std::string(what) + ": expected a non-negative integer");
  return static_cast<size_t>(value);
}

template <class Array>
Array typed_array(Napi::Env env, const Napi::Value& value, napi_typedarray_type type, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    refuse(env, std::string(what) + ": wrong kind of typed array");
  return value.As<Array>();
}

Napi::Float32Array floats(const Napi::CallbackInfo& info, size_t at, const char* what) {
  return typed_array<Napi::Float32Array>(info.Env(), info[at], napi_float32_array, what);
}

Napi::Uint32Array integers(const Napi::CallbackInfo& info, size_t at, const char* what) {
  return typed_array<Napi::Uint32Array>(info.Env(), info[at], napi_uint32_array, what);
}

void expect_length(Napi::Env env, size_t got, size_t expected, const char* what) {
  if (got != expected)
    refuse(env, std::string(what) + ": " + std::to_string(got) + " values, expected " + std::to_string(expected));
}

size_t tokens_of(Napi::Env env, size_t n_values, size_t d_in) {
  if (n_values % d_in != 0) refuse(env, "x: not whole rows of dIn values");
  if (n_values / d_in >= std::numeric_limits<uint32_t>::max()) refuse(env, "x: too many tokens");
  return n_values / d_in;
}

// Arguments (kind, count, thresholds | null) from `at` on.
Selection selection_argument(const Napi::CallbackInfo& info, size_t at, const EngineShape& shape) {
  const size_t kind = size_argument(info, at, "selection kind");
  if (kind > 3) refuse(info.Env(), "selection kind: expected 0, 1, 2 or 3");
  Selection selection{static_cast<SelectionKind>(kind), 0, nullptr};
  if ((selection.kind == SelectionKind::own) != (shape.architecture != Architecture::by_size))
    refuse(info.Env(), "selection kind: not of this architecture");
  if (selection.kind == SelectionKind::threshold) {
    Napi::Float32Array thresholds = floats(info, at + 2, "thresholds");
    expect_length(info.Env(), thresholds.ElementLength(), shape.d_sae, "thresholds");
    selection.thresholds = thresholds.Data();
  } else {
    selection.count = size_argument(info, at + 1, "selection count");
  }
  return selection;
}

template <class Array, class T>
Array copied(Napi::Env env, const T* from, size_t n) {
  Array out = Array::New(env, n);
  if (n > 0) std::memcpy(out.Data(), from, n * sizeof(T));
  return out;
}

}  // namespace

Napi::Function EngineObject::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {InstanceMethod<&EngineObject::encode>("encode"), InstanceMethod<&EngineObject::decode>("decode"),
                      InstanceMethod<&EngineObject::train_step>("trainStep"),
                      InstanceMethod<&EngineObject::norms>("norms"), InstanceMethod<&EngineObject::read>("read"),
                      InstanceMethod<&EngineObject::write>("write"),
                      InstanceMethod<&EngineObject::set_search>("setSearch"),
                      InstanceMethod<&EngineObject::profile>("profile"),
                      InstanceMethod<&EngineObject::dispose>("dispose")});
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  const Napi::Env env = info.Env();
  EngineShape shape;
  shape.d_in = size_argument(info, 0, "dIn");
  shape.d_sae = size_argument(info, 1, "dSae");
  Napi::Uint32Array widths = integers(info, 2, "widths");
  shape.widths.assign(widths.Data(), widths.Data() + widths.ElementLength());
  shape.apply_b_dec_to_input = info[3].ToBoolean();
  shape.rescale_by_decoder_norm = info[4].ToBoolean();
  shape.training = info[5].ToBoolean();
  const size_t n_threads = size_argument(info, 6, "threads");
  const size_t isa = size_argument(info, 7, "isa");
  shape.bf16_moments = info[8].ToBoolean();
  Napi::Float64Array rule = typed_array<Napi::Float64Array>(env, info[9], napi_float64_array, "architecture");
  expect_length(env, rule.ElementLength(), 4, "architecture");
  if (!(rule[0] >= 0 && rule[0] <= 3)) refuse(env, "architecture: expected 0, 1, 2 or 3");
  shape.architecture = static_cast<Architecture>(static_cast<int>(rule[0]));
  shape.lp_norm = rule[1];
  shape.bandwidth = rule[2];
  shape.tanh_scale = rule[3];

  constexpr size_t kMost = size_t{1} << 31;
  constexpr size_t kMostDimensions = 60000;  // or the sums of the screen overflow
  if (shape.d_in == 0 || shape.d_in > kMostDimensions || shape.d_sae == 0 || shape.d_sae >= kMost)
    refuse(env, "dIn and dSae: expected 1 … 60 000 and 1 … 2^31");
  for (size_t i = 0; i < shape.widths.size(); i++)
    if (shape.widths[i] <= (i == 0 ? 0 : shape.widths[i - 1])) refuse(env, "widths: expected strictly increasing");
  if (shape.widths.empty() || shape.widths.back() != shape.d_sae) refuse(env, "widths: the last must be dSae");
  if (shape.architecture != Architecture::by_size && (shape.widths.size() > 1 || shape.rescale_by_decoder_norm))
    refuse(env, "architecture: neither nested widths nor rescaling");
  if (n_threads < 1 || n_threads > 1024) refuse(env, "threads: expected 1 … 1024");
  const Kernels* kernels = isa < kIsaCount ? kernels_for(static_cast<Isa>(isa)) : nullptr;
  if (kernels == nullptr) refuse(env, "this machine lacks the instruction set asked for");
  held_ = std::make_shared<Held>(std::move(shape), *kernels, *screen_for(static_cast<Isa>(isa)),
                                 static_cast<int>(n_threads));
}

Engine& EngineObject::live(Napi::Env env) const {
  if (!held_) refuse(env, "the engine has been disposed");
  return held_->engine;
}

Napi::Promise EngineObject::start(Napi::Env env, std::initializer_list<Napi::Value> held, Task::Work work,
                                  Task::Finish finish) {
  // The memory lives as long as the task, even if the engine is disposed meanwhile.
  std::shared_ptr<Held> owner = held_;
  if (owner->busy.exchange(true)) refuse(env, "the engine is busy: one call at a time");
  return Task::start(
      env, held,
      [owner, work = std::move(work)] {
        struct Free {
          std::atomic<bool>& busy;
          ~Free() { busy = false; }
        } free{owner->busy};
        work();
      },
      [owner, finish = std::move(finish)](Napi::Env e) { return finish(e); });
}

// (x, kind, count, thresholds | null) → { offsets, latents, values }
Napi::Value EngineObject::encode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine& engine = live(env);
  Napi::Float32Array x = floats(info, 0, "x");
  const size_t n_tokens = tokens_of(env, x.ElementLength(), engine.shape().d_in);
  const Selection selection = selection_argument(info, 1, engine.shape());
  auto entries = std::make_shared<Entries>();
  const float* data = x.Data();
  return start(
      env, {x, info[3]},
      [&engine, data, n_tokens, selection, entries] { *entries = engine.encode(data, n_tokens, selection); },
      [entries](Napi::Env e) -> Napi::Value {
        Napi::Object out = Napi::Object::New(e);
        out["offsets"] = copied<Napi::Uint32Array>(e, entries->token_begin.data(), entries->token_begin.size());
        out["latents"] = copied<Napi::Uint32Array>(e, entries->latent.data(), entries->size());
        out["values"] = copied<Napi::Float32Array>(e, entries->p.data(), entries->size());
        return out;
      });
}

// (offsets, latents, values, width) → Float32Array [nTokens · dIn]
Napi::Value EngineObject::decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine& engine = live(env);
  Napi::Uint32Array offsets = integers(info, 0, "offsets");
  Napi::Uint32Array latents = integers(info, 1, "latents");
  Napi::Float32Array values = floats(info, 2, "values");
  const size_t width = size_argument(info, 3, "width");
  if (offsets.ElementLength() == 0) refuse(env, "offsets: expected at least one");
  expect_length(env, values.ElementLength(), latents.ElementLength(), "values");
  const SparseView acts{offsets.ElementLength() - 1, offsets.Data(), latents.Data(), values.Data(),
                        latents.ElementLength()};
  Napi::Float32Array out = Napi::Float32Array::New(env, acts.n_tokens * engine.shape().d_in);
  float* data = out.Data();
  auto result = std::make_shared<Napi::ObjectReference>(Napi::Persistent(out.As<Napi::Object>()));
  return start(
      env, {offsets, latents, values}, [&engine, acts, width, data] { engine.decode(acts, width, data); },
      [result](Napi::Env) -> Napi::Value { return result->Value(); });
}

// (x, kind, count, numbers: Float64Array [lr, adamStep, beta1, beta2, epsilon, clipNorm, auxCoefficient, sparsity],
//  dead: Uint8Array | null, auditTokens: Uint32Array | null)
// → { loss, mse, innerMse, aux, sparsity (of a rule of its own), l0, gradNorm, minPositive, fired, audit }
Napi::Value EngineObject::train_step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine& engine = live(env);
  if (!engine.shape().training) refuse(env, "trainStep on an engine made for inference");
  Napi::Float32Array x = floats(info, 0, "x");
  const size_t n_tokens = tokens_of(env, x.ElementLength(), engine.shape().d_in);
  if (n_tokens == 0) refuse(env, "x: an empty batch");
  StepOptions options{};
  options.selection = selection_argument(info, 1, engine.shape());
  if (options.selection.kind == SelectionKind::threshold) refuse(env, "training selects by batch-topk, topk or its own rule");
  Napi::Float64Array numbers = typed_array<Napi::Float64Array>(env, info[3], napi_float64_array, "numbers");
  expect_length(env, numbers.ElementLength(), 8, "numbers");
  options.learning_rate = numbers[0];
  options.adam_step = numbers[1];
  options.beta1 = numbers[2];
  options.beta2 = numbers[3];
  options.epsilon = numbers[4];
  options.clip_norm = numbers[5];
  options.aux_coefficient = numbers[6];
  options.sparsity = numbers[7];
  if (!info[4].IsNull()) {
    Napi::Uint8Array dead = typed_array<Napi::Uint8Array>(env, info[4], napi_uint8_array, "dead");
    expect_length(env, dead.ElementLength(), engine.shape().d_sae, "dead");
    options.dead = dead.Data();
  }
  if (!info[5].IsNull() && !info[5].IsUndefined()) {
    Napi::Uint32Array tokens = integers(info, 5, "audit tokens");
    options.audit_tokens = tokens.Data();
    options.n_audit = tokens.ElementLength();
    for (size_t i = 0; i < options.n_audit; i++)
      if (options.audit_tokens[i] >= n_tokens) refuse(env, "audit tokens: expected places in the batch");
  }
  const bool audited = options.audit_tokens != nullptr;
  const bool has_sparsity = engine.shape().architecture != Architecture::by_size;
  auto result = std::make_shared<StepResult>();
  const float* data = x.Data();
  return start(
      env, {x, info[4], info[5]},
      [&engine, data, n_tokens, options, result] { *result = engine.train_step(data, n_tokens, options); },
      [result, audited, has_sparsity](Napi::Env e) -> Napi::Value {
        Napi::Object out = Napi::Object::New(e);
        out["loss"] = Napi::Number::New(e, result->loss);
        out["mse"] = Napi::Number::New(e, result->mse);
        Napi::Array inner = Napi::Array::New(e, result->inner_mse.size());
        for (uint32_t i = 0; i < result->inner_mse.size(); i++) inner[i] = Napi::Number::New(e, result->inner_mse[i]);
        out["innerMse"] = inner;
        out["aux"] = Napi::Number::New(e, result->aux);
        if (has_sparsity) out["sparsity"] = Napi::Number::New(e, result->sparsity);
        out["l0"] = Napi::Number::New(e, result->l0);
        out["gradNorm"] = Napi::Number::New(e, result->grad_norm);
        out["minPositive"] =
            result->min_positive > 0 ? Napi::Value(Napi::Number::New(e, result->min_positive)) : Napi::Value(e.Null());
        Napi::Value audit = e.Null();
        if (audited) {
          Napi::Object counts = Napi::Object::New(e);
          counts["entries"] = Napi::Number::New(e, static_cast<double>(result->audit_entries));
          counts["missed"] = Napi::Number::New(e, static_cast<double>(result->audit_missed));
          audit = counts;
        }
        out["audit"] = audit;
        out["fired"] = copied<Napi::Uint32Array>(e, result->fired.data(), result->fired.size());
        return out;
      });
}

// () → Float32Array [dSae]
Napi::Value EngineObject::norms(const Napi::CallbackInfo& info) {
  Engine& engine = live(info.Env());
  if (held_->busy) refuse(info.Env(), "the engine is busy: one call at a time");
  return copied<Napi::Float32Array>(info.Env(), engine.norms(), engine.shape().d_sae);
}

// (owner, tensor, from, to) → Float32Array [(to − from) · row width]
Napi::Value EngineObject::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine& engine = live(env);
  const size_t owner = size_argument(info, 0, "owner");
  const size_t tensor = size_argument(info, 1, "tensor");
  const size_t from = size_argument(info, 2, "from");
  const size_t to = size_argument(info, 3, "to");
  if (owner > 2 || tensor >= 4 + engine.shape().n_extra() || (owner > 0 && !engine.shape().training)) refuse(env, "no such tensor");
  const TensorName name = static_cast<TensorName>(tensor);
  if (from > to || to > engine.row_count(name)) refuse(env, "rows outside the tensor");
  Napi::Float32Array out = Napi::Float32Array::New(env, (to - from) * engine.row_width(name));
  float* data = out.Data();
  auto result = std::make_shared<Napi::ObjectReference>(Napi::Persistent(out.As<Napi::Object>()));
  return start(
      env, {},
      [&engine, owner, name, from, to, data] {
        engine.read(static_cast<TensorOwner>(owner), name, from, to - from, data);
      },
      [result](Napi::Env) -> Napi::Value { return result->Value(); });
}

// (owner, tensor, from, rows: Float32Array)
Napi::Value EngineObject::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine& engine = live(env);
  const size_t owner = size_argument(info, 0, "owner");
  const size_t tensor = size_argument(info, 1, "tensor");
  const size_t from = size_argument(info, 2, "from");
  Napi::Float32Array rows = floats(info, 3, "rows");
  if (owner > 2 || tensor >= 4 + engine.shape().n_extra() || (owner > 0 && !engine.shape().training)) refuse(env, "no such tensor");
  const TensorName name = static_cast<TensorName>(tensor);
  const size_t n = rows.ElementLength() / engine.row_width(name);
  if (n * engine.row_width(name) != rows.ElementLength() || from > engine.row_count(name) ||
      n > engine.row_count(name) - from)
    refuse(env, "rows outside the tensor");
  const float* data = rows.Data();
  return start(
      env, {rows},
      [&engine, owner, name, from, n, data] { engine.write(static_cast<TensorOwner>(owner), name, from, n, data); },
      [](Napi::Env e) -> Napi::Value { return e.Undefined(); });
}

// () → seconds of the last call's phases
Napi::Value EngineObject::profile(const Napi::CallbackInfo& info) {
  const StepProfile& profile = live(info.Env()).profile();
  Napi::Object out = Napi::Object::New(info.Env());
  out["encode"] = Napi::Number::New(info.Env(), profile.encode);
  out["quantise"] = Napi::Number::New(info.Env(), profile.cost.quantise);
  out["screen"] = Napi::Number::New(info.Env(), profile.cost.screen);
  out["refine"] = Napi::Number::New(info.Env(), profile.cost.refine);
  out["candidates"] = Napi::Number::New(info.Env(), static_cast<double>(profile.cost.candidates));
  out["searches"] = Napi::Number::New(info.Env(), profile.searches);
  out["reconstruct"] = Napi::Number::New(info.Env(), profile.reconstruct);
  out["aux"] = Napi::Number::New(info.Env(), profile.aux);
  out["gradients"] = Napi::Number::New(info.Env(), profile.gradients);
  out["update"] = Napi::Number::New(info.Env(), profile.update);
  return out;
}

// (mode: 0 dense, 1 rigorous, 2 statistical; sigmas)
void EngineObject::set_search(const Napi::CallbackInfo& info) {
  Engine& engine = live(info.Env());
  if (held_->busy) refuse(info.Env(), "the engine is busy: one call at a time");
  const size_t mode = size_argument(info, 0, "mode");
  const double sigmas = info[1].ToNumber().DoubleValue();
  if (mode > 2 || !(sigmas >= 0)) refuse(info.Env(), "search: expected 0, 1 or 2 and a number ≥ 0");
  engine.set_search({static_cast<SearchMode>(mode), sigmas});
}

void EngineObject::dispose(const Napi::CallbackInfo&) { held_.reset(); }

}  // namespace lapidary

// The engine as JavaScript sees it: class `Engine`, whose methods return promises. src/kernels/addon.ts mirrors it in
// types, native.ts validates what people pass and queues calls; here only what memory safety needs is checked again.
#pragma once
#include <napi.h>

#include <atomic>
#include <memory>

#include "engine.h"
#include "task.h"

namespace lapidary {

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env);

  // (dIn, dSae, widths: Uint32Array, applyBDecToInput, rescale, training, threads, isa, bf16Moments,
  //  architecture: Float64Array [kind, lpNorm, bandwidth, tanhScale])
  explicit EngineObject(const Napi::CallbackInfo& info);

 private:
  // An engine, and whether a call is running on it.
  struct Held {
    Held(EngineShape shape, const Kernels& kernels, const ScreenKernels& screen, int n_threads)
        : engine(std::move(shape), kernels, screen, n_threads) {}
    Engine engine;
    std::atomic<bool> busy{false};
  };

  Napi::Value encode(const Napi::CallbackInfo& info);
  Napi::Value decode(const Napi::CallbackInfo& info);
  Napi::Value train_step(const Napi::CallbackInfo& info);
  Napi::Value norms(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  void set_search(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);

  Engine& live(Napi::Env env) const;
  Napi::Promise start(Napi::Env env, std::initializer_list<Napi::Value> held, Task::Work work, Task::Finish finish);

  std::shared_ptr<Held> held_;
};

}  // namespace lapidary

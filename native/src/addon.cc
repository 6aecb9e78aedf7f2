// What lapidary.node exports. src/kernels/addon.ts mirrors it in types; change both, and raise kInterface.
#include <napi.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "cpu.h"
#include "engine_object.h"
#include "peak.h"
#include "task.h"

namespace lapidary {
namespace {

constexpr int kInterface = 3;

Napi::Value get_cpu_features(const Napi::CallbackInfo& info) {
  const CpuFeatures features = cpu_features();
  Napi::Object out = Napi::Object::New(info.Env());
  out["avx2"] = Napi::Boolean::New(info.Env(), features.avx2);
  out["avxVnni"] = Napi::Boolean::New(info.Env(), features.avx_vnni);
  out["avx512"] = Napi::Boolean::New(info.Env(), features.avx512);
  out["avx512Vnni"] = Napi::Boolean::New(info.Env(), features.avx512_vnni);
  out["neon"] = Napi::Boolean::New(info.Env(), features.neon);
  out["neonDotprod"] = Napi::Boolean::New(info.Env(), features.neon_dotprod);
  out["kernels"] = Napi::String::New(info.Env(), isa_name(Isa::best));
  return out;
}

// (what: 0 fp32, 1 int8, 2 memory; isa, threads, milliseconds) → Promise of GFLOP/s, Gop/s or GB/s
Napi::Value get_peak(const Napi::CallbackInfo& info) {
  const int what = info[0].ToNumber().Int32Value();
  const int isa = info[1].ToNumber().Int32Value();
  const int n_threads = info[2].ToNumber().Int32Value();
  const double milliseconds = info[3].ToNumber().DoubleValue();
  const bool known = isa >= 0 && isa < kIsaCount;
  const Kernels* kernels = known ? kernels_for(static_cast<Isa>(isa)) : nullptr;
  const ScreenKernels* screen = known ? screen_for(static_cast<Isa>(isa)) : nullptr;
  if (what < 0 || what > 2 || kernels == nullptr || screen == nullptr || n_threads < 1 || n_threads > 1024 ||
      !(milliseconds > 0 && milliseconds <= 10000))
    throw Napi::TypeError::New(info.Env(), "measurePeak: kind, instruction set, threads or milliseconds out of range");
  auto rate = std::make_shared<double>(0);
  return Task::start(
      info.Env(), {},
      [=] {
        *rate = what == 0   ? measure_fp32_peak(*kernels, n_threads, milliseconds)
                : what == 1 ? measure_int8_peak(*screen, n_threads, milliseconds)
                            : measure_memory_peak(*kernels, n_threads, milliseconds);
      },
      [rate](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *rate); });
}

// glibc keeps what is freed for what comes next, more of it the larger it was: up to 200 MB of this process, whose arrays
// come and go by megabytes. With a limit that stays where it is, blocks beyond it go back to the system.
void return_large_blocks() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
#endif
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  return_large_blocks();
  exports["interface"] = Napi::Number::New(env, kInterface);
  exports["cpuFeatures"] = Napi::Function::New(env, get_cpu_features, "cpuFeatures");
  exports["measurePeak"] = Napi::Function::New(env, get_peak, "measurePeak");
  exports["Engine"] = EngineObject::define(env);
  return exports;
}

}  // namespace

NODE_API_MODULE(lapidary, initialize)

}  // namespace lapidary

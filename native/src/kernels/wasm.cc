// The kernels on WebAssembly's simd128, as every host with SIMD has it: vectors of 4, no relaxed instructions, whose
// results may differ from host to host.
#include <string.h>
#include <wasm_simd128.h>

#include "kernels.h"

namespace lapidary {
namespace wasm {

#include "vec_wasm.h"

// Hosts on x86 have 15 registers for 6 accumulators, what is multiplied, and the product.
constexpr size_t kPanelVectors = 1;
// Lanes of a dot product accumulated side by side.
constexpr size_t kTogether = 1;

#include "body.h"

// The screen: bytes widened to 16 bits, where products of two neighbours cannot overflow. A sum of kWidth latents is two
// vectors, latents 0 1 and 2 3, with two partial sums for each latent.
constexpr size_t kScreenTokens = 3;
constexpr size_t kScreenVectors = 1;
constexpr size_t kValueBytes = 2;

struct Sums {
  v128_t low;
  v128_t high;
};
using Weights = Sums;
using TokenStep = v128_t;

static inline Sums no_sums() { return {wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0)}; }
static inline Weights load_weights(const uint8_t* from) {
  return {wasm_u16x8_load8x8(from), wasm_u16x8_load8x8(from + 8)};
}
static inline TokenStep token_step(const char* values) { return wasm_v128_load64_splat(values); }
static inline Sums add_products(const Sums& sums, const Weights& w, TokenStep x) {
  return {wasm_i32x4_add(sums.low, wasm_i32x4_dot_i16x8(w.low, x)),
          wasm_i32x4_add(sums.high, wasm_i32x4_dot_i16x8(w.high, x))};
}
static inline Vec to_floats(const Sums& sums, int32_t offset) {
  const v128_t even = wasm_i32x4_shuffle(sums.low, sums.high, 0, 2, 4, 6);
  const v128_t odd = wasm_i32x4_shuffle(sums.low, sums.high, 1, 3, 5, 7);
  return wasm_f32x4_convert_i32x4(wasm_i32x4_add(wasm_i32x4_add(even, odd), wasm_i32x4_splat(offset)));
}
static inline void keep_in_register(Sums&) {}

#include "screen_body.h"

}  // namespace wasm

extern const Kernels kWasmKernels;
extern const ScreenKernels kWasmScreen;
const Kernels kWasmKernels = wasm::kernels_named("WebAssembly SIMD");
const ScreenKernels kWasmScreen = wasm::screen_named("WebAssembly SIMD");

}  // namespace lapidary

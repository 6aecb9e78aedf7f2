// The arithmetic that is compiled once per instruction set: a table of functions, all of which give the same bits.
//
// The order of sums (docs/decisions/001-order-of-sums.md):
//   dot(a, b): dimensions in blocks of 128; in a block, lane l of 16 accumulates fma(a[16j+l], b[16j+l], ·) from 0 for
//   j = 0 … 7; lanes are added l and l+8, then l and l+4, l+2, l+1; block sums are added ascending. All in fp32.
//   Rows are padded with zeros to `d_pad`, a multiple of 16; the last block may hold fewer j.
//   Everything else is elementwise: one fma an entry, in the order in which the entries are listed.
//
// Plain types only, and no standard templates in what includes this for an instruction set: an inline function
// compiled there with AVX-512 could be the one that the linker keeps for everybody.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace lapidary {

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 128;
// Tokens of one tile, the short side of the dense product.
constexpr size_t kTileTokens = 6;
// The widest panel of any instruction set; latent arrays are padded to a multiple of it.
constexpr size_t kMaxPanel = 64;

// An entry of the pre-activations that exceeded its floor: h and p = h·n.
struct Hit {
  float h;
  float p;
  uint32_t token;
  uint32_t latent;
};

// A panel of encoder rows, transposed and laid out in the order in which the dot product visits it.
struct Panel {
  const float* weights;       // [d_pad][panel_latents], see `pack`
  const float* bias;          // [panel_latents]
  const float* norm;          // [panel_latents], ones without rescaling
  const float* latent_floor;  // [panel_latents], +inf where the panel has no row
  uint32_t first_latent;
};

// A tile of tokens, in the same layout.
struct Tile {
  const float* tokens;       // [d_pad][kTileTokens]
  const float* token_floor;  // [kTileTokens], +inf where the tile has no token
  uint32_t first_token;
};

struct AdamFactors {
  float gradient_scale;   // clipping
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float step_size;        // lr / (1 − β₁ᵗ)
  float inv_correction2;  // 1 / √(1 − β₂ᵗ)
  float epsilon;
};

struct Kernels {
  const char* name;
  size_t panel_latents;
  size_t flops_per_peak_iteration;

  // Rows (null: zeros) [width][d_pad] → out [d_pad][width]; inside each block of 128 dimensions lanes come in the
  // order 0 8 4 12 2 10 6 14 1 9 5 13 3 11 7 15, j ascending within a lane. `width`: panel_latents or kTileTokens.
  void (*pack)(const float* const* rows, size_t width, size_t d_pad, float* out);

  // The dense product of a tile and a panel, and what to keep of it: every (token, latent) with
  // p > max(latent_floor, token_floor), tokens ascending, then latents. `hits` has room for all. Returns their number.
  size_t (*score)(const Tile& tile, const Panel& panel, size_t d_pad, Hit* hits);

  // a, b [d_pad]
  float (*dot)(const float* a, const float* b, size_t d_pad);

  // acc[j] = fma(coef[e], rows[index[e]·d_pad + j], acc[j]) for e = 0 … n−1 in order.
  void (*gather)(float* acc, const float* rows, size_t d_pad, const uint32_t* index, const float* coef, size_t n);

  // Adam on n values, n a multiple of 16.
  void (*adam)(float* param, float* m, float* v, const float* gradient, size_t n, const AdamFactors& factors);

  // Independent FMAs and nothing else: what this instruction set can do at best.
  float (*peak)(size_t iterations, float seed);
};

extern const Kernels kPortableKernels;
#ifdef LAPIDARY_X64
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif
#ifdef LAPIDARY_ARM64
extern const Kernels kNeonKernels;
#endif

}  // namespace lapidary

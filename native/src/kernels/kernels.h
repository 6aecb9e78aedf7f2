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

// Compilers that know AVX-VNNI: gcc 11, clang 12, Visual C++ 2019.
#if defined(__clang__)
#if __clang_major__ >= 12 && !defined(_MSC_VER)
#define LAPIDARY_AVX_VNNI
#endif
#elif !defined(__GNUC__) || __GNUC__ >= 11
#define LAPIDARY_AVX_VNNI
#endif

#if defined(_MSC_VER)
#pragma fp_contract(off)  // older versions contract by default
#define LAPIDARY_NO_INLINE __declspec(noinline)
#define LAPIDARY_PREFETCH(address) static_cast<void>(address)
#else
#define LAPIDARY_NO_INLINE __attribute__((noinline))
#define LAPIDARY_PREFETCH(address) __builtin_prefetch(address)
#endif

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

// A row as int8, row = scale·q + error.
struct Quantised {
  float scale;
  float squares;        // Σ row², rounded anyhow
  float error_squares;  // Σ error², the same; NaN if the row has a value that is no finite number
};

// Four dimensions of 64 encoder rows side by side are one step of the screen.
constexpr size_t kScreenPanel = 64;
constexpr size_t kStepDimensions = 4;
// Input dimensions kept in fp32 at most.
constexpr size_t kMaxOutliers = 8;

// A panel of quantised encoder rows, zeros where it has no row.
struct ScreenPanel {
  const uint8_t* weights;       // [steps][64][4]: q + 128
  const float* scale;           // [64]
  const float* length;          // [64] ‖w‖, rounded up
  const float* error;           // [64] ‖w − scale·q‖, rounded up
  const float* outliers;        // [n_outliers][64] the weights of the dimensions kept in fp32
  const float* bias;            // [64]
  const float* norm;            // [64]
  const float* latent_floor;    // [64], +inf where the panel has no row
};

// A tile of quantised tokens.
struct ScreenTile {
  const void* tokens;        // [steps][6][4], int8 or int16: see ScreenKernels::value_bytes
  const int32_t* offset;     // [6] −128·Σq, which undoes the 128 in the weights
  const float* scale;        // [6]
  const float* outliers;     // [n_outliers][6]
  const float* per_length;   // [6] what a unit of ‖w‖ adds to the margin
  const float* per_error;    // [6] what a unit of ‖e_w‖ adds
  const float* token_floor;  // [6], +inf where the tile has no token
};

// An entry that the screen cannot rule out: places within the tile and the panel.
struct Candidate {
  uint16_t token;
  uint16_t latent;
};

struct Kernels {
  const char* name;
  size_t panel_latents;
  size_t flops_per_peak_iteration;

  // Rows (null: zeros) [width][d_pad] → out [d_pad][width]; inside each block of 128 dimensions lanes come in the
  // order 0 8 4 12 2 10 6 14 1 9 5 13 3 11 7 15, j ascending within a lane. `width`: panel_latents or kTileTokens.
  void (*pack)(const float* const* rows, size_t width, size_t d_pad, float* out);

  // The dense product of a tile and a panel, all of it: h [kTileTokens][panel_latents], the bias added.
  void (*product)(const Tile& tile, const Panel& panel, size_t d_pad, float* h);

  // The same, and what to keep of it: every (token, latent) with
  // p > max(latent_floor, token_floor), in no particular order. `hits` has room for all. Returns their number.
  size_t (*score)(const Tile& tile, const Panel& panel, size_t d_pad, Hit* hits);

  // a, b [d_pad]
  float (*dot)(const float* a, const float* b, size_t d_pad);

  // One block of several dot products: with s_i the block sum of a and rows[index[i]·stride …], both of `width` ≤ 128
  // values, sums[i] = first ? s_i : sums[i] + s_i for i = 0 … n−1.
  void (*dot_rows)(const float* a, const float* rows, size_t stride, size_t width, const uint32_t* index, size_t n,
                   bool first, float* sums);

  // acc[j] = fma(coef[e], rows[index[e]·stride + j], acc[j]) for e = 0 … n−1 in order; j < width, a multiple of 16.
  void (*gather)(float* acc, const float* rows, size_t stride, size_t width, const uint32_t* index, const float* coef,
                 size_t n);

  // Six sums at once: acc[t·acc_stride + j] = fma(coef[6e + t], rows[index[e]·stride + j], ·) for e = 0 … n−1 in order;
  // t < 6, j < width, a multiple of 16.
  void (*gather_tile)(float* acc, size_t acc_stride, const float* rows, size_t stride, size_t width,
                      const uint32_t* index, const float* coef, size_t n);

  // Adam on n values, n a multiple of 16.
  void (*adam)(float* param, float* m, float* v, const float* gradient, size_t n, const AdamFactors& factors);

  // The same with moments kept as bf16. They are rounded up or down by chance, up as often as the part cut off is large:
  // a second moment grows by less than bf16 resolves, and would stand still if it were rounded to nearest. The chance is
  // a function of (seed, j). The parameter moves by the moments before rounding.
  void (*adam_bf16)(float* param, uint16_t* m, uint16_t* v, const float* gradient, size_t n, const AdamFactors& factors,
                    uint32_t seed);

  // q[j] = round(row[j]·127/max|row|), n a multiple of 16. A row below 2⁻¹⁰⁰ or with a value that is no finite number
  // becomes zeros.
  Quantised (*quantise)(const float* row, size_t n, int8_t* q);

  // Independent FMAs and nothing else: what this instruction set can do at best.
  float (*peak)(size_t iterations, float seed);
};

// The screen: integer dot products that say which entries could exceed their floors. The integers, and so the
// candidates, are the same on every instruction set. `screen_body.h` has the arithmetic, docs/decisions/005 the proof.
struct ScreenKernels {
  const char* name;
  size_t value_bytes;             // of a token's values in a tile: 1 or 2
  size_t ops_per_peak_iteration;  // a multiplication and an addition are two

  // Every (token, latent) whose p may exceed max(latent_floor, token_floor). `out` has room for all. Returns their
  // number.
  size_t (*screen)(const ScreenTile& tile, const ScreenPanel& panel, size_t steps, size_t n_outliers, Candidate* out);

  // Independent integer dot products and nothing else.
  int32_t (*peak)(size_t iterations, int32_t seed);
};

extern const Kernels kPortableKernels;
extern const ScreenKernels kPortableScreen;
#ifdef LAPIDARY_X64
extern const Kernels kAvx2Kernels;
extern const ScreenKernels kAvx2Screen;
#ifdef LAPIDARY_AVX_VNNI
extern const ScreenKernels kAvxVnniScreen;
#endif
extern const Kernels kAvx512Kernels;
extern const ScreenKernels kAvx512VnniScreen;
#endif
#ifdef LAPIDARY_ARM64
extern const Kernels kNeonKernels;
extern const ScreenKernels kNeonScreen;
extern const ScreenKernels kNeonDotprodScreen;
#endif

}  // namespace lapidary

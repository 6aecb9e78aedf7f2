// Runs every kernel of every instruction set that this machine has on the same seeded data, and prints one hash a
// kernel. No Node and no framework, so it also runs under an emulator: scripts/parity-arm.mjs compares machines.
// Exit status 1: two instruction sets differ.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <limits>

#include "../src/cpu.h"
#include "data.h"

namespace lapidary::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// One step, part of a block, a whole block, blocks with a rest.
constexpr size_t kWidths[] = {16, 32, 48, 112, 128, 144, 256, 272, 400};

// ---- fp32 ----

// A tile of up to 6 tokens and up to 64 latents in as many panels as the instruction set needs: visit(tile, panel,
// d_pad) for each, done() after the last one.
template <class Visit, class Done>
void dense_cases(const Kernels& kernels, Random& random, Visit visit, Done done) {
  for (const Kind kind : kKinds)
    for (const size_t d_pad : kWidths) {
      const size_t n_latents = kMaxPanel - random.below(40);
      const size_t n_tokens = kTileTokens - random.below(3);
      const AlignedArray<float> latents = values(random, n_latents * d_pad, kind);
      const AlignedArray<float> tokens = values(random, n_tokens * d_pad, kind);
      const AlignedArray<float> bias = values(random, kMaxPanel, kind);
      const AlignedArray<float> norm = values(random, kMaxPanel);
      AlignedArray<float> latent_floor(kMaxPanel);
      float token_floor[kTileTokens];
      for (size_t i = 0; i < kMaxPanel; i++)
        latent_floor[i] = i >= n_latents ? kInfinity : random.below(3) == 0 ? value_of(random, kind) : -kInfinity;
      for (size_t t = 0; t < kTileTokens; t++)
        token_floor[t] = t >= n_tokens ? kInfinity : random.below(3) == 0 ? value_of(random, kind) : -kInfinity;

      const float* rows[kMaxPanel];
      AlignedArray<float> packed_tile(kTileTokens * d_pad);
      for (size_t t = 0; t < kTileTokens; t++) rows[t] = t < n_tokens ? tokens.data() + t * d_pad : nullptr;
      kernels.pack(rows, kTileTokens, d_pad, packed_tile.data());
      const Tile tile{packed_tile.data(), token_floor, 0};

      AlignedArray<float> packed_panel(kernels.panel_latents * d_pad);
      for (size_t first = 0; first < kMaxPanel; first += kernels.panel_latents) {
        for (size_t i = 0; i < kernels.panel_latents; i++)
          rows[i] = first + i < n_latents ? latents.data() + (first + i) * d_pad : nullptr;
        kernels.pack(rows, kernels.panel_latents, d_pad, packed_panel.data());
        const Panel panel{packed_panel.data(), bias.data() + first, norm.data() + first, latent_floor.data() + first,
                          static_cast<uint32_t>(first)};
        visit(tile, panel, d_pad);
      }
      done();
    }
}

// `pack` and `score`. The order of hits within a panel is the kernel's own business.
void score(const Kernels& kernels, Random& random, Hash& hash) {
  std::vector<Hit> hits;
  const auto visit = [&](const Tile& tile, const Panel& panel, size_t d_pad) {
    std::vector<Hit> found(kTileTokens * kernels.panel_latents);
    found.resize(kernels.score(tile, panel, d_pad, found.data()));
    hits.insert(hits.end(), found.begin(), found.end());
  };
  dense_cases(kernels, random, visit, [&] {
    std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
      return a.token != b.token ? a.token < b.token : a.latent < b.latent;
    });
    for (const Hit& hit : hits) {
      hash.number(hit.token);
      hash.number(hit.latent);
      hash.number(hit.h);
      hash.number(hit.p);
    }
    hits.clear();
  });
}

// Rows that are absent count as zeros: every entry of the tile is compared.
void product(const Kernels& kernels, Random& random, Hash& hash) {
  float all[kTileTokens][kMaxPanel];
  const size_t width = kernels.panel_latents;
  const auto visit = [&](const Tile& tile, const Panel& panel, size_t d_pad) {
    AlignedArray<float> h(kTileTokens * width);
    kernels.product(tile, panel, d_pad, h.data());
    for (size_t t = 0; t < kTileTokens; t++)
      std::copy_n(h.data() + t * width, width, all[t] + panel.first_latent);
  };
  dense_cases(kernels, random, visit, [&] { hash.numbers(all[0], kTileTokens * kMaxPanel); });
}

void dot(const Kernels& kernels, Random& random, Hash& hash) {
  for (const Kind kind : kKinds)
    for (const size_t d_pad : kWidths)
      for (int repeat = 0; repeat < 8; repeat++) {
        const AlignedArray<float> a = values(random, d_pad, kind);
        const AlignedArray<float> b = values(random, d_pad, kind);
        hash.number(kernels.dot(a.data(), b.data(), d_pad));
        hash.number(kernels.dot(a.data(), a.data(), d_pad));
      }
}

// Row numbers of a table, some of them repeatedly.
std::vector<uint32_t> some_rows(Random& random, size_t n, size_t rows) {
  std::vector<uint32_t> index(n);
  for (uint32_t& at : index) at = random.below(static_cast<uint32_t>(rows));
  return index;
}

void dot_rows(const Kernels& kernels, Random& random, Hash& hash) {
  constexpr size_t kRows = 19;
  for (const Kind kind : kKinds)
    for (const size_t width : kWidths)
      for (const size_t n : {0, 1, 3, 30}) {
        if (width > kBlock) continue;
        const size_t stride = width + kLanes * random.below(3);
        const AlignedArray<float> a = values(random, width, kind);
        const AlignedArray<float> rows = values(random, kRows * stride, kind);
        const std::vector<uint32_t> index = some_rows(random, n, kRows);
        AlignedArray<float> sums(n);
        for (const bool first : {true, false})
          kernels.dot_rows(a.data(), rows.data(), stride, width, index.data(), n, first, sums.data());
        hash.numbers(sums.data(), n);
      }
}

void gather(const Kernels& kernels, Random& random, Hash& hash) {
  constexpr size_t kRows = 23;
  for (const Kind kind : kKinds)
    for (const size_t width : kWidths)
      for (const size_t n : {0, 1, 2, 7, 37}) {
        const size_t stride = width + kLanes * random.below(3);
        const AlignedArray<float> rows = values(random, kRows * stride, kind);
        const AlignedArray<float> coef = values(random, n, Kind::mixed);
        const std::vector<uint32_t> index = some_rows(random, n, kRows);
        AlignedArray<float> sum = values(random, width, kind);
        kernels.gather(sum.data(), rows.data(), stride, width, index.data(), coef.data(), n);
        hash.numbers(sum.data(), width);
      }
}

void gather_tile(const Kernels& kernels, Random& random, Hash& hash) {
  constexpr size_t kRows = 21;
  for (const Kind kind : kKinds)
    for (const size_t width : kWidths)
      for (const size_t n : {0, 1, 5, 40}) {
        const size_t stride = width + kLanes * random.below(3);
        const size_t acc_stride = width + kLanes * random.below(3);
        const AlignedArray<float> rows = values(random, kRows * stride, kind);
        const AlignedArray<float> coef = values(random, kTileTokens * n, Kind::mixed);
        const std::vector<uint32_t> index = some_rows(random, n, kRows);
        AlignedArray<float> sums = values(random, kTileTokens * acc_stride, kind);
        kernels.gather_tile(sums.data(), acc_stride, rows.data(), stride, width, index.data(), coef.data(), n);
        hash.numbers(sums.data(), sums.size());
      }
}

AdamFactors factors_of(int step) {
  const float t = static_cast<float>(step);
  return {0.37f, 0.9f, 0.1f, 0.999f, 0.001f, 3e-4f / t, 31.6f / t, 1e-8f};
}

// Second moments: not negative.
AlignedArray<float> squares(Random& random, size_t n, Kind kind) {
  AlignedArray<float> out = values(random, n, kind);
  for (size_t i = 0; i < n; i++) out[i] = out[i] * out[i];
  return out;
}

void adam(const Kernels& kernels, Random& random, Hash& hash) {
  for (const Kind kind : kKinds)
    for (const size_t n : kWidths) {
      AlignedArray<float> param = values(random, n);
      AlignedArray<float> m = values(random, n, kind);
      AlignedArray<float> v = squares(random, n, kind);
      for (int step = 1; step <= 3; step++) {
        const AlignedArray<float> gradient = values(random, n, kind);
        kernels.adam(param.data(), m.data(), v.data(), gradient.data(), n, factors_of(step));
      }
      hash.numbers(param.data(), n);
      hash.numbers(m.data(), n);
      hash.numbers(v.data(), n);
    }
}

void adam_bf16(const Kernels& kernels, Random& random, Hash& hash) {
  for (const Kind kind : {Kind::plain, Kind::mixed, Kind::ties, Kind::small})  // no NaNs: their bits may differ
    for (const size_t n : kWidths) {
      AlignedArray<float> param = values(random, n);
      AlignedArray<uint16_t> m(n);
      AlignedArray<uint16_t> v(n);
      for (int step = 1; step <= 5; step++) {
        const AlignedArray<float> gradient = values(random, n, kind);
        kernels.adam_bf16(param.data(), m.data(), v.data(), gradient.data(), n, factors_of(step),
                          static_cast<uint32_t>(step));
      }
      hash.numbers(param.data(), n);
      hash.numbers(m.data(), n);
      hash.numbers(v.data(), n);
    }
}

void quantise(const Kernels& kernels, Random& random, Hash& hash) {
  for (const Kind kind : kKinds)
    for (const size_t n : kWidths)
      for (const float odd : {0.0f, kInfinity, -kInfinity, kNaN}) {
        AlignedArray<float> row = values(random, n, kind);
        if (odd != 0.0f) row[random.below(static_cast<uint32_t>(n))] = odd;
        AlignedArray<int8_t> bytes(n);
        const Quantised result = kernels.quantise(row.data(), n, bytes.data());
        hash.number(result.scale);
        hash.number(result.squares);
        hash.number(result.error_squares);
        hash.numbers(bytes.data(), n);
      }
}

// ---- the screen ----

// A tile and a panel of random numbers, and what the screen reads beside the bytes.
struct ScreenCase {
  // `extreme`: the largest sums that can occur, of either sign.
  ScreenCase(Random& random, size_t n_steps, bool extreme)
      : steps(n_steps), n_outliers(random.below(kMaxOutliers + 1)) {
    const auto byte = [&] {
      const int any = static_cast<int>(random.below(255)) - 127;
      return static_cast<int8_t>(!extreme ? any : any < -124 ? -127 : 127);
    };
    const auto positive = [&](int exponent) { return scaled(random.uniform() + 1.0f, exponent); };
    for (size_t i = 0; i < weights.size(); i++) {
      const int value = byte();
      const bool odd_latent = i / kStepDimensions % 2 != 0;
      weights[i] = static_cast<uint8_t>(128 + (extreme && odd_latent ? -value : value));
    }
    for (size_t i = 0; i < narrow.size(); i++) {
      wide[i] = narrow[i] = byte();
      offset[i / kStepDimensions % kTileTokens] -= 128 * narrow[i];
    }
    latent_outliers = values(random, kMaxOutliers * kScreenPanel);
    token_outliers = values(random, kMaxOutliers * kTileTokens);
    bias = values(random, kScreenPanel);
    for (size_t i = 0; i < kScreenPanel; i++) {
      latent_scale[i] = positive(-8);
      length[i] = positive(0);
      error[i] = positive(-7);
      norm[i] = positive(0);
      latent_floor[i] = random.below(8) == 0 ? kInfinity : random.below(2) == 0 ? random.bell() : -kInfinity;
    }
    for (size_t t = 0; t < kTileTokens; t++) {
      token_scale[t] = positive(-8);
      per_length[t] = positive(-5);
      per_error[t] = positive(0);
      token_floor[t] = random.below(8) == 0 ? kInfinity : positive(1);
    }
    if (random.below(2) == 0) bias[random.below(kScreenPanel)] = kNaN;  // cannot be ruled out
  }

  // Leaves the integers alone, with floors that they reach, by one, or just do not exceed.
  void expose_integers(Random& random) {
    n_outliers = 0;
    for (size_t i = 0; i < kScreenPanel; i++) {
      latent_scale[i] = norm[i] = 1.0f;
      bias[i] = length[i] = error[i] = 0.0f;
      latent_floor[i] = static_cast<float>(sum(random.below(kTileTokens), i) - static_cast<int32_t>(random.below(2)));
    }
    for (size_t t = 0; t < kTileTokens; t++) {
      token_scale[t] = 1.0f;
      token_floor[t] = -kInfinity;
    }
  }

  int32_t sum(size_t token, size_t latent) const {
    int32_t total = 0;
    for (size_t step = 0; step < steps; step++)
      for (size_t j = 0; j < kStepDimensions; j++)
        total += narrow[(step * kTileTokens + token) * kStepDimensions + j] *
                 (weights[(step * kScreenPanel + latent) * kStepDimensions + j] - 128);
    return total;
  }

  // Candidates by token, then latent.
  std::vector<Candidate> run(const ScreenKernels& kernels) const {
    const ScreenPanel panel{weights.data(), latent_scale.data(), length.data(), error.data(),
                            latent_outliers.data(), bias.data(), norm.data(), latent_floor.data()};
    const void* tokens = kernels.value_bytes == 2 ? static_cast<const void*>(wide.data()) : narrow.data();
    const ScreenTile tile{tokens, offset, token_scale, token_outliers.data(), per_length, per_error, token_floor};
    std::vector<Candidate> found(kTileTokens * kScreenPanel);
    found.resize(kernels.screen(tile, panel, steps, n_outliers, found.data()));
    std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
      return a.token != b.token ? a.token < b.token : a.latent < b.latent;
    });
    return found;
  }

  size_t steps;
  size_t n_outliers;
  AlignedArray<uint8_t> weights{steps * kScreenPanel * kStepDimensions};
  AlignedArray<int8_t> narrow{steps * kTileTokens * kStepDimensions};
  AlignedArray<int16_t> wide{steps * kTileTokens * kStepDimensions};
  AlignedArray<float> latent_outliers, token_outliers, bias;
  AlignedArray<float> latent_scale{kScreenPanel}, length{kScreenPanel}, error{kScreenPanel}, norm{kScreenPanel},
      latent_floor{kScreenPanel};
  int32_t offset[kTileTokens] = {};
  float token_scale[kTileTokens], per_length[kTileTokens], per_error[kTileTokens], token_floor[kTileTokens];
};

// Which entries pass shows a wrong bit only where a floor is near, hence many small cases.
void screen(const ScreenKernels& kernels, Random& random, Hash& hash) {
  const auto add = [&](const ScreenCase& one) {
    const std::vector<Candidate> found = one.run(kernels);
    hash.number(static_cast<uint64_t>(found.size()));
    for (const Candidate& candidate : found) {
      hash.number(candidate.token);
      hash.number(candidate.latent);
    }
  };
  for (const bool exposed : {false, true})
    for (int repeat = 0; repeat < 30; repeat++)
      for (const size_t width : kWidths) {
        ScreenCase one(random, width / kStepDimensions, false);
        if (exposed) one.expose_integers(random);
        add(one);
      }
  for (const size_t steps : {1000, 15000}) {
    ScreenCase one(random, steps, true);
    add(one);
    one.expose_integers(random);
    add(one);
  }
}

// ---- all of it ----

struct Test {
  const char* name;
  void (*run)(const Kernels& kernels, Random& random, Hash& hash);
};
constexpr Test kTests[] = {{"product", product},
                           {"score", score},
                           {"dot", dot},
                           {"dot_rows", dot_rows},
                           {"gather", gather},
                           {"gather_tile", gather_tile},
                           {"adam", adam},
                           {"adam_bf16", adam_bf16},
                           {"quantise", quantise}};

// One line of output for each set of kernels and each screen: its name, then kernel=hash.
class Report {
 public:
  void add(const Kernels& kernels) {
    std::vector<uint64_t> hashes;
    std::printf("%-14s", kernels.name);
    for (const Test& test : kTests) {
      Random random(hashes.size());
      Hash hash;
      test.run(kernels, random, hash);
      hashes.push_back(hash.value());
      std::printf(" %s=%016" PRIx64, test.name, hash.value());
    }
    std::printf("\n");
    if (expected_.empty()) expected_ = hashes;
    same_ = same_ && hashes == expected_ && kernels.peak(10, 1.0f) > 0;
  }

  void add(const ScreenKernels& kernels) {
    Random random(99);
    Hash hash;
    screen(kernels, random, hash);
    std::printf("%-14s screen=%016" PRIx64 "\n", kernels.name, hash.value());
    if (expected_screen_ == 0) expected_screen_ = hash.value();
    same_ = same_ && hash.value() == expected_screen_;
    kernels.peak(12, 1);
  }

  bool same() const { return same_; }

 private:
  std::vector<uint64_t> expected_;
  uint64_t expected_screen_ = 0;
  bool same_ = true;
};

int main() {
  Report report;
  std::vector<const Kernels*> kernels;
  std::vector<const ScreenKernels*> screens;
  const auto add = [&](auto& list, const auto* item) {
    if (item != nullptr && std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  };
  for (int isa = 1; isa < kIsaCount; isa++) {
    add(kernels, kernels_for(static_cast<Isa>(isa)));
    add(screens, screen_for(static_cast<Isa>(isa)));
  }
#ifdef LAPIDARY_EVEX_VNNI
  if (cpu_features().avx512_vnni) add(screens, &kAvxVnniScreen);
#endif
  for (const Kernels* each : kernels) report.add(*each);
  for (const ScreenKernels* each : screens) report.add(*each);
  return report.same() ? 0 : 1;
}

}  // namespace
}  // namespace lapidary::test

int main() { return lapidary::test::main(); }

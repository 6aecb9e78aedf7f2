// Seeded data and hashes that come out the same on every machine: integers, exact scalings and single fp32 additions,
// nothing from the mathematics library.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../src/aligned_array.h"

namespace lapidary::test {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
  // [−1, 1), a multiple of 2⁻²³
  float uniform() { return static_cast<float>(static_cast<int64_t>(next() >> 40) - (1 << 23)) * 0x1p-23f; }
  // A bell between −2 and 2.
  float bell() {
    const float a = uniform() + uniform();
    return (a + uniform()) + uniform();
  }

 private:
  uint64_t state_;
};

inline float scaled(float value, int exponent) {
  const float step = exponent < 0 ? 0.5f : 2.0f;
  for (int i = exponent < 0 ? -exponent : exponent; i > 0; i--) value *= step;
  return value;
}

// What floating point trips over.
enum class Kind { plain, mixed, ties, small, denormal, huge };
constexpr Kind kKinds[] = {Kind::plain, Kind::mixed, Kind::ties, Kind::small, Kind::denormal, Kind::huge};

inline float value_of(Random& random, Kind kind) {
  constexpr float kTies[] = {-1.0f, -0.0f, 0.0f, 0.5f, 1.0f};
  const float value = random.bell();
  switch (kind) {
    case Kind::mixed:
      return scaled(value, static_cast<int>(random.below(61)) - 30);
    case Kind::ties:
      return kTies[random.below(5)];
    case Kind::small:  // products are denormal
      return scaled(value, -66);
    case Kind::denormal:
      return scaled(value, -135);
    case Kind::huge:  // some sums overflow
      return scaled(value, 62);
    default:
      return value;
  }
}

inline AlignedArray<float> values(Random& random, size_t n, Kind kind = Kind::plain) {
  AlignedArray<float> out(n);
  for (size_t i = 0; i < n; i++) out[i] = value_of(random, kind);
  return out;
}

// FNV-1a over bytes. All NaNs count as one: which of them an operation yields differs between processors.
class Hash {
 public:
  void bytes(const void* from, size_t n) {
    const unsigned char* byte = static_cast<const unsigned char*>(from);
    for (size_t i = 0; i < n; i++) state_ = (state_ ^ byte[i]) * 0x100000001b3u;
  }
  template <class T>
  void number(T value) {
    if (value != value) return bytes("NaN", 3);
    bytes(&value, sizeof value);
  }
  template <class T>
  void numbers(const T* from, size_t n) {
    for (size_t i = 0; i < n; i++) number(from[i]);
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

}  // namespace lapidary::test

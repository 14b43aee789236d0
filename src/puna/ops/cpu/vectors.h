// Vectors of float as wide as the machine's registers, by GCC's and Clang's vector extension: one source for AVX-512,
// AVX2 and all else.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
constexpr int W = 16;  // floats of a register
constexpr int TILE_ROWS = 12;  // 12 x 2 sums, 2 columns and a factor in 32 registers
#elif defined(__AVX__)
constexpr int W = 8;
constexpr int TILE_ROWS = 6;  // 6 x 2 sums, 2 columns and a factor in 16 registers
#else
constexpr int W = 4;
constexpr int TILE_ROWS = 6;
#endif
constexpr int PANEL = 2 * W;  // columns of a tile

typedef float Floats __attribute__((vector_size(W * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(W * sizeof(int32_t))));
typedef float AnyFloats __attribute__((vector_size(W * sizeof(float)), aligned(4), may_alias));
typedef int32_t AnyInts __attribute__((vector_size(W * sizeof(int32_t)), aligned(4), may_alias));

static inline Floats load(const float* from) { return *reinterpret_cast<const AnyFloats*>(from); }
static inline Ints load(const int32_t* from) { return *reinterpret_cast<const AnyInts*>(from); }
static inline void store(float* to, Floats x) { *reinterpret_cast<AnyFloats*>(to) = x; }
static inline Floats all(float x) { return x - Floats{}; }  // x - 0 is x, so nothing is computed
static inline Floats largest(Floats x, Floats y) { return x > y ? x : y; }

using Lanes = std::make_integer_sequence<int, W>;

// x[i ^ D].
template <int D, int... I>
static inline Floats swapped(Floats x, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(x, x, (I ^ D)...);
}

template <int D = W / 2>
static inline float sum(Floats x) {
    if constexpr (D == 0) return x[0];
    else return sum<D / 2>(x + swapped<D>(x, Lanes{}));
}

template <int D = W / 2>
static inline float largest(Floats x) {
    if constexpr (D == 0) return x[0];
    else return largest<D / 2>(largest(x, swapped<D>(x, Lanes{})));
}

// The columns with bit D of rows without it change places with the columns without it of rows with it.
template <int D, int... I>
static inline void exchange(Floats& x, Floats& y, std::integer_sequence<int, I...>) {
    const Floats low = __builtin_shufflevector(x, y, (I & D ? W + I - D : I)...);
    y = __builtin_shufflevector(x, y, (I & D ? W + I : I + D)...);
    x = low;
}

// The transpose of W rows of W numbers, by halves, quarters and so on.
template <int D = W / 2>
static inline void transpose(Floats (&rows)[W]) {
    if constexpr (D > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i++)
            if (!(i & D)) exchange<D>(rows[i], rows[i + D], Lanes{});
        transpose<D / 2>(rows);
    }
}

// e^x to 2 units in the last place, and 0 below the logarithm of the smallest normal number; x must be below 88.
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r is a polynomial (Cephes, expf), 2^n is written into the exponent.
static inline Floats exponential(Floats x) {
    const Floats shift = all(12582912.0f);  // 1.5 x 2^23: added, it leaves the nearest integer in the lowest bits
    const Floats shifted = x * 1.44269504f + shift;
    const Floats n = shifted - shift;
    Floats r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    Ints bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000;
    Floats power;
    std::memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? Floats{} : p * power;
}

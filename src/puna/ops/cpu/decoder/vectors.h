// Vectors of 16 numbers, whatever the machine's registers hold: one register of AVX-512, two of AVX2.
//
// Every operation rounds as IEEE 754 says, and sums over lanes have one order, so both instruction sets give the same
// bits. Compile with -ffp-contract=off: where a product and a sum are rounded once, the source says `fma`.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#define INLINE __attribute__((always_inline)) static inline

constexpr int W = 16;  // lanes

#if defined(__AVX512VNNI__)

constexpr bool WIDE = true;  // 32 registers of 16 lanes, and products of bytes
using Floats = __m512;
using Ints = __m512i;
using Bytes = __m512i;  // 16 groups of 4
using Four = __m512i;   // the same 4 bytes, 16 times

INLINE Floats all(float x) { return _mm512_set1_ps(x); }
INLINE Floats load(const float* from) { return _mm512_loadu_ps(from); }
INLINE Floats load(const uint16_t* from) {  // float16
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
INLINE void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
INLINE void store(uint16_t* to, Floats x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
INLINE Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
// If either is not a number: y.
INLINE Floats larger(Floats x, Floats y) { return _mm512_max_ps(x, y); }
INLINE Floats smaller(Floats x, Floats y) { return _mm512_min_ps(x, y); }
INLINE Floats nearest(Floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE Floats floats(Ints x) { return _mm512_cvtepi32_ps(x); }
INLINE Ints ints(Floats x) { return _mm512_cvtps_epi32(x); }
// The first n lanes of x, and `rest` in all others.
INLINE Floats first_lanes(int64_t n, Floats x, Floats rest) { return _mm512_mask_mov_ps(rest, (1u << n) - 1, x); }
INLINE void store_first(int64_t n, float* to, Floats x) { _mm512_mask_storeu_ps(to, (1u << n) - 1, x); }
INLINE Floats load_first(int64_t n, const float* from) { return _mm512_maskz_loadu_ps((1u << n) - 1, from); }
// 2^n of whole numbers from -126 to 127.
INLINE Floats power_of_two(Floats n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(ints(n), _mm512_set1_epi32(127)), 23));
}
// 32 numbers in bfloat16: those in the lower halves of 32 bits, then those in the upper ones.
INLINE void load_pair(const uint8_t* from, Floats& lower, Floats& upper) {
    const Ints both = _mm512_loadu_si512(from);
    lower = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    upper = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}
INLINE Floats load_half_of_pair(const uint8_t* from, int upper) {
    const Ints both = _mm512_loadu_si512(from);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_srl_epi32(both, _mm_cvtsi32_si128(16 * upper)), 16));
}
INLINE void store_bytes(int8_t* to, Ints x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(x)); }
INLINE Ints operator_add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
INLINE __m256 halves_added(Floats x) { return _mm512_castps512_ps256(x) + _mm512_extractf32x8_ps(x, 1); }
INLINE __m256 halves_larger(Floats x) {
    return _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}

INLINE Bytes load_bytes(const uint8_t* from) { return _mm512_loadu_si512(from); }
INLINE Bytes lower_nibbles(Bytes x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
INLINE Bytes upper_nibbles(Bytes x) { return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15)); }
INLINE Four four(const int8_t* from) {
    int32_t bits;
    std::memcpy(&bits, from, 4);
    return _mm512_set1_epi32(bits);
}

constexpr uint8_t INT8_ZERO = 128;  // what is added to weights of 8 bits, so that they have no sign

// 16 sums of products of weights and activations over one group.
template <int BITS>
struct Dot {
    Ints sums;
    // `total`: the sum of the group's activations, which takes back what was added to the weights.
    INLINE Dot start(int32_t total) { return {_mm512_set1_epi32((BITS == 8 ? -128 : -8) * total)}; }
    __attribute__((always_inline)) void add(Bytes weights, Four x) { sums = _mm512_dpbusd_epi32(sums, weights, x); }
    __attribute__((always_inline)) Floats end(int32_t) const { return floats(sums); }
};

#else

constexpr bool WIDE = false;
struct Floats {
    __m256 a, b;
};
struct Ints {
    __m256i a, b;
};
using Bytes = Ints;
using Four = __m256i;

INLINE Floats operator+(Floats x, Floats y) { return {x.a + y.a, x.b + y.b}; }
INLINE Floats operator-(Floats x, Floats y) { return {x.a - y.a, x.b - y.b}; }
INLINE Floats operator*(Floats x, Floats y) { return {x.a * y.a, x.b * y.b}; }
INLINE Floats operator/(Floats x, Floats y) { return {x.a / y.a, x.b / y.b}; }
INLINE Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
INLINE Floats load(const uint16_t* from) {
    const __m128i* halves = reinterpret_cast<const __m128i*>(from);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
INLINE void store(float* to, Floats x) {
    _mm256_storeu_ps(to, x.a);
    _mm256_storeu_ps(to + 8, x.b);
}
INLINE void store(uint16_t* to, Floats x) {
    __m128i* halves = reinterpret_cast<__m128i*>(to);
    _mm_storeu_si128(halves, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
INLINE Floats fma(Floats x, Floats y, Floats z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
INLINE Floats magnitude(Floats x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
INLINE Floats larger(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
INLINE Floats smaller(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
INLINE Floats nearest(Floats x) {
    constexpr int how = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, how), _mm256_round_ps(x.b, how)};
}
INLINE Floats floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
INLINE Ints ints(Floats x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
INLINE Ints lanes_before(int64_t n) {
    const __m256i limit = _mm256_set1_epi32(static_cast<int>(n));
    return {_mm256_cmpgt_epi32(limit, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            _mm256_cmpgt_epi32(limit, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}
INLINE Floats first_lanes(int64_t n, Floats x, Floats rest) {
    const Ints mask = lanes_before(n);
    return {_mm256_blendv_ps(rest.a, x.a, _mm256_castsi256_ps(mask.a)),
            _mm256_blendv_ps(rest.b, x.b, _mm256_castsi256_ps(mask.b))};
}
INLINE void store_first(int64_t n, float* to, Floats x) {
    const Ints mask = lanes_before(n);
    _mm256_maskstore_ps(to, mask.a, x.a);
    _mm256_maskstore_ps(to + 8, mask.b, x.b);
}
INLINE Floats load_first(int64_t n, const float* from) {
    const Ints mask = lanes_before(n);
    return {_mm256_maskload_ps(from, mask.a), _mm256_maskload_ps(from + 8, mask.b)};
}
INLINE Floats power_of_two(Floats n) {
    const __m256i bias = _mm256_set1_epi32(127);
    const Ints whole = ints(n);
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(whole.a, bias), 23)),
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(whole.b, bias), 23))};
}
INLINE void load_pair(const uint8_t* from, Floats& lower, Floats& upper) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000));
    const __m256i* both = reinterpret_cast<const __m256i*>(from);
    const __m256i a = _mm256_loadu_si256(both), b = _mm256_loadu_si256(both + 1);
    lower = {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
    upper = {_mm256_castsi256_ps(_mm256_and_si256(a, mask)), _mm256_castsi256_ps(_mm256_and_si256(b, mask))};
}
INLINE Floats load_half_of_pair(const uint8_t* from, int upper) {
    const __m256i* both = reinterpret_cast<const __m256i*>(from);
    const __m128i count = _mm_cvtsi32_si128(16 * upper);
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srl_epi32(_mm256_loadu_si256(both), count), 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srl_epi32(_mm256_loadu_si256(both + 1), count), 16))};
}
INLINE void store_bytes(int8_t* to, Ints x) {
    const __m256i shorts = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(shorts), _mm256_extracti128_si256(shorts, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
}
INLINE Ints operator_add(Ints x, Ints y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
INLINE __m256 halves_added(Floats x) { return x.a + x.b; }
INLINE __m256 halves_larger(Floats x) { return _mm256_max_ps(x.a, x.b); }

INLINE Bytes load_bytes(const uint8_t* from) {
    const __m256i* bytes = reinterpret_cast<const __m256i*>(from);
    return {_mm256_loadu_si256(bytes), _mm256_loadu_si256(bytes + 1)};
}
INLINE __m256i lower_nibbles(__m256i x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
INLINE Bytes lower_nibbles(Bytes x) { return {lower_nibbles(x.a), lower_nibbles(x.b)}; }
INLINE Bytes upper_nibbles(Bytes x) {
    return {lower_nibbles(_mm256_srli_epi16(x.a, 4)), lower_nibbles(_mm256_srli_epi16(x.b, 4))};
}
INLINE Four four(const int8_t* from) {
    int32_t bits;
    std::memcpy(&bits, from, 4);
    return _mm256_set1_epi32(bits);
}

constexpr uint8_t INT8_ZERO = 0;

// AVX2 multiplies bytes without a sign by bytes with one, and sums of two products saturate at 16 bits.
template <int BITS>
struct Dot;

template <>
struct Dot<8> {  // the sign of a weight goes to its activation, |activation| <= 127: at most 2 x 128 x 127 = 32,512
    Ints sums;
    INLINE Dot start(int32_t) { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
    INLINE __m256i pairs(__m256i weights, Four x) {
        return _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights));
    }
    __attribute__((always_inline)) void add(Bytes weights, Four x) {
        const __m256i ones = _mm256_set1_epi16(1);
        sums.a = _mm256_add_epi32(sums.a, _mm256_madd_epi16(pairs(weights.a, x), ones));
        sums.b = _mm256_add_epi32(sums.b, _mm256_madd_epi16(pairs(weights.b, x), ones));
    }
    __attribute__((always_inline)) Floats end(int32_t) const { return floats(sums); }
};

template <>
struct Dot<4> {  // weights from 0 to 15: 8 sums of two products are at most 8 x 2 x 15 x 127 = 30,480
    Ints sums;
    INLINE Dot start(int32_t) { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
    __attribute__((always_inline)) void add(Bytes weights, Four x) {
        sums.a = _mm256_add_epi16(sums.a, _mm256_maddubs_epi16(weights.a, x));
        sums.b = _mm256_add_epi16(sums.b, _mm256_maddubs_epi16(weights.b, x));
    }
    __attribute__((always_inline)) Floats end(int32_t total) const {
        const __m256i ones = _mm256_set1_epi16(1), taken = _mm256_set1_epi32(8 * total);
        return floats(Ints{_mm256_sub_epi32(_mm256_madd_epi16(sums.a, ones), taken),
                           _mm256_sub_epi32(_mm256_madd_epi16(sums.b, ones), taken)});
    }
};

#endif

// Lane i with lane i + 8, then i + 4, i + 2 and i + 1.
INLINE float sum(Floats x) {
    const __m256 eight = halves_added(x);
    const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    const __m128 two = four + _mm_movehl_ps(four, four);
    return _mm_cvtss_f32(two) + _mm_cvtss_f32(_mm_movehdup_ps(two));
}
INLINE float largest(Floats x) {
    const __m256 eight = halves_larger(x);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// e^x to 2 units in the last place for x between -87 and 88, and those limits' beyond; not a number stays that.
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r is a polynomial (Cephes, expf), 2^n is written into the exponent.
INLINE Floats exponential(Floats x) {
    x = smaller(all(88.0f), larger(all(-87.0f), x));
    const Floats n = nearest(x * all(1.44269504f));
    const Floats r = fma(n, all(2.12194440e-4f), fma(n, all(-0.693359375f), x));
    Floats p = all(1.9875691500e-4f);
    p = fma(p, r, all(1.3981999507e-3f));
    p = fma(p, r, all(8.3334519073e-3f));
    p = fma(p, r, all(4.1665795894e-2f));
    p = fma(p, r, all(1.6666665459e-1f));
    p = fma(p, r, all(5.0000001201e-1f));
    p = fma(p, r * r, r + all(1.0f));
    return p * power_of_two(n);
}

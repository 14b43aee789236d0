// What a processor can do at best: read memory, and multiply in registers.
#include <immintrin.h>

#include <cstdint>

// Reads all bytes once, on every thread a part.
extern "C" int64_t read_memory(const uint8_t* data, int64_t bytes, int64_t threads) {
    int64_t total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        __m256i sums[4] = {};
        const int64_t end = bytes * (part + 1) / threads / 256 * 256;
        for (int64_t i = bytes * part / threads / 256 * 256; i < end; i += 256) {
            _mm_prefetch(reinterpret_cast<const char*>(data + i + 4096), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(data + i + 4160), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(data + i + 4224), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(data + i + 4288), _MM_HINT_T0);
            for (int k = 0; k < 8; k++)
                sums[k % 4] = _mm256_xor_si256(
                    sums[k % 4], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 32 * k)));
        }
        const __m256i all = _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
        total += _mm256_extract_epi64(all, 0);
    }
    return total;
}

#if defined(__AVX512VNNI__)
using Floats = __m512;
using Ints = __m512i;
static Floats step(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
static Ints step(Ints a, Ints b, Ints c) { return _mm512_dpbusd_epi32(c, a, b); }
#else
using Floats = __m256;
using Ints = __m256i;
static Floats step(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
static Ints step(Ints a, Ints b, Ints c) {
    return _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), b));
}
#endif

template <class V>
static int64_t multiply(int64_t times, int64_t threads) {
    int64_t total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        V sums[12] = {}, a = {}, b = {};
        for (V& x : sums) asm volatile("" : "+v"(x));  // or else the compiler sees that all sums are the same
        for (int64_t i = 0; i < times; i++) {
#pragma GCC unroll 12
            for (int k = 0; k < 12; k++) sums[k] = step(a, b, sums[k]);
            asm volatile("" : "+v"(a), "+v"(b));
        }
        for (const V& x : sums) total += reinterpret_cast<const int64_t*>(&x)[0];
    }
    return total * 0 + times * threads * 12 * static_cast<int64_t>(sizeof(V));
}

// Bytes of numbers that were multiplied and added: a quarter of them floats, all of them 8-bit integers.
extern "C" int64_t multiply_floats(int64_t times, int64_t threads) { return multiply<Floats>(times, threads); }
extern "C" int64_t multiply_bytes(int64_t times, int64_t threads) { return multiply<Ints>(times, threads); }

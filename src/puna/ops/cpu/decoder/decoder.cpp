// A step of a LLaMA decoder, as a list of operators that one team of threads works off: linear layers with what stands
// before and after them, and attention over pages of keys and values.
//
// Rows are queries of any sequences. What is computed of a row depends on its own sequence alone, bit for bit: every
// output has one accumulator, inputs are taken in one order, and threads share outputs, never a sum. So it doesn't
// matter in which company, chunks or threads a row is computed.
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "layout.h"
#include "vectors.h"

// Rows of numbers, filled up with zeros to a multiple of 64.
struct Buffer {
    float* data;
    int64_t step;  // from row to row

    float* row(int64_t m) const { return data + m * step; }
};

enum Code : int64_t { EMBED, LINEAR, ATTEND };
enum Table : int64_t { TABLE_FLOAT32, TABLE_BFLOAT16, TABLE_FLOAT16, TABLE_GROUPS };

// out = rows of a table by token.
struct Embed {
    const void* table;       // (vocabulary, width); of TABLE_GROUPS int8
    const uint16_t* scales;  // (vocabulary, width / 32, rounded up) of TABLE_GROUPS
    int64_t dtype, vocabulary, width, out;
};

// out = f(W norm(in)), or out += W in.
struct Linear {
    const uint8_t* weights;  // as in layout.h
    int64_t kind, blocks, inputs;
    const float* gain;  // of the RMSNorm before, filled up with zeros; null where there is none
    float epsilon;
    int32_t adds;     // whether the product is added to what `out` holds
    int64_t width;    // inputs without those that were filled up
    int64_t gated;    // whether a block is 32 gates and 32 values: silu(gate) x value comes out
    int64_t wanted;   // whether only the wanted rows are computed, into consecutive rows; needs a norm
    int64_t in, out;  // buffers
};

// Turns queries and keys, writes keys and values into pages, and attends.
struct Attend {
    void *keys, *values;  // (pages, key heads, page / 16, width, 16), (pages, key heads, page, width rounded up to 16)
    int64_t half;         // whether they are float16
    int64_t heads, key_heads, width, in, out;
};

struct Operator {
    int64_t code;
    union {
        Embed embed;
        Linear linear;
        Attend attend;
    };
};

struct Step {
    int64_t rows, sequences, wanted_rows, threads;
    const int64_t* tokens;
    const int32_t *positions, *owners, *tables;  // (rows), (rows): a sequence's row in (sequences, table_step)
    int64_t table_step;
    const int64_t* wanted;
    const float *cosines, *sines;  // (angles, width / 2)
    int64_t angles, pages, page_size;
    const Buffer* buffers;
};

namespace {

// ---- Products ------------------------------------------------------------------------------------------------------

constexpr int64_t PREFETCH = 4096;  // bytes ahead
constexpr int64_t CHUNK = 48;       // rows that share a part of a block while it lies in the first cache
constexpr int64_t PART = 32768;     // bytes of that part, about

// The input of a product: floats, or integers in groups of 32 with their scales and sums.
struct Input {
    const float* floats;
    const int8_t* integers;
    const float* scales;
    const int32_t* totals;
    int64_t step;  // numbers from row to row; there is a scale for 32
};

template <int V>
INLINE void prefetch(const uint8_t* at) {
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) _mm_prefetch(reinterpret_cast<const char*>(at + 64 * v + PREFETCH), _MM_HINT_T0);
}

// Each kind of weights adds the products of M rows with V vectors of a block, from `vector` on, for some inputs.
struct Floats32 {
    static constexpr Kind KIND = FLOAT32;
    static constexpr int ROWS = WIDE ? 12 : 3;
    static constexpr int vectors(int rows) { return WIDE ? (rows <= 4 ? 4 : 2) : (rows == 1 ? 4 : 2); }

    template <int M, int V>
    INLINE void add(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector,
                    Floats (&sums)[M][V]) {
        const float* x = in.floats + row * in.step;
        for (int64_t k = from; k < to; k++) {
            const uint8_t* at = block + (k * BLOCK + vector * W) * 4;
            prefetch<V>(at);
            Floats weights[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) weights[v] = load(reinterpret_cast<const float*>(at) + v * W);
#pragma GCC unroll 12
            for (int m = 0; m < M; m++) {
                const Floats factor = all(x[m * in.step + k]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sums[m][v] = fma(factor, weights[v], sums[m][v]);
            }
        }
    }
};

struct Floats16 {
    static constexpr Kind KIND = BFLOAT16;
    static constexpr int ROWS = Floats32::ROWS;
    static constexpr int vectors(int rows) { return Floats32::vectors(rows); }

    template <int M, int V>
    INLINE void add(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector,
                    Floats (&sums)[M][V]) {
        const float* x = in.floats + row * in.step;
        for (int64_t k = from; k < to; k++) {
            const uint8_t* at = block + (k * BLOCK + vector * W) * 2;
            prefetch<V / 2>(at);
            Floats weights[V];
#pragma GCC unroll 2
            for (int v = 0; v < V; v += 2) load_pair(at + v * W * 2, weights[v], weights[v + 1]);
#pragma GCC unroll 12
            for (int m = 0; m < M; m++) {
                const Floats factor = all(x[m * in.step + k]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sums[m][v] = fma(factor, weights[v], sums[m][v]);
            }
        }
    }
};

template <int BITS>
struct Groups {
    static constexpr Kind KIND = BITS == 8 ? INT8 : INT4;
    static constexpr int ROWS = WIDE ? 6 : 4;
    static constexpr int vectors(int rows) { return WIDE ? (rows <= 2 ? 4 : 2) : rows == 1 ? 2 : 1; }

    template <int M, int V>
    INLINE void add(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector,
                    Floats (&sums)[M][V]) {
        const int64_t groups = in.step / GROUP;
        for (int64_t g = from / GROUP; g < to / GROUP; g++) {
            const uint8_t* at = block + g * group_bytes(KIND) + vector * W * 4;
            const int8_t* x = in.integers + row * in.step + g * GROUP;
            const int64_t scale = row * groups + g;
            Dot<BITS> dots[M][V];
#pragma GCC unroll 8
            for (int m = 0; m < M; m++)
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) dots[m][v] = Dot<BITS>::start(in.totals[scale + m * groups]);
#pragma GCC unroll 8
            for (int k = 0; k < BITS; k++) {  // 4 inputs each, or 8 of 4 bits
                prefetch<V>(at + k * BLOCK * 4);
                Bytes weights[V];
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) weights[v] = load_bytes(at + (k * BLOCK + v * W) * 4);
                if constexpr (BITS == 8) {
#pragma GCC unroll 8
                    for (int m = 0; m < M; m++) {
                        const Four factor = four(x + m * in.step + 4 * k);
#pragma GCC unroll 4
                        for (int v = 0; v < V; v++) dots[m][v].add(weights[v], factor);
                    }
                } else {
                    Bytes upper[V];
#pragma GCC unroll 4
                    for (int v = 0; v < V; v++) {
                        upper[v] = upper_nibbles(weights[v]);
                        weights[v] = lower_nibbles(weights[v]);
                    }
#pragma GCC unroll 8
                    for (int m = 0; m < M; m++) {
                        const Four first = four(x + m * in.step + 8 * k), second = four(x + m * in.step + 8 * k + 4);
#pragma GCC unroll 4
                        for (int v = 0; v < V; v++) {
                            dots[m][v].add(weights[v], first);
                            dots[m][v].add(upper[v], second);
                        }
                    }
                }
            }
            const uint16_t* scales = reinterpret_cast<const uint16_t*>(at + BITS * BLOCK * 4 - vector * W * 4) + vector * W;
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                const Floats weight_scale = load(scales + v * W);
#pragma GCC unroll 8
                for (int m = 0; m < M; m++) {
                    const Floats both = weight_scale * all(in.scales[scale + m * groups]);
                    sums[m][v] = fma(dots[m][v].end(in.totals[scale + m * groups]), both, sums[m][v]);
                }
            }
        }
    }
};

// M rows with V vectors of a block, added to the sums of the inputs before `from`.
template <class Weights, int M, int V>
void columns(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector, float* out) {
    Floats sums[M][V];
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[m][v] = from ? load(out + m * BLOCK + (vector + v) * W) : all(0);
    Weights::template add<M, V>(in, row, block, from, to, vector, sums);
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(out + m * BLOCK + (vector + v) * W, sums[m][v]);
}

// Rows [row, end) with vectors [first, last) of a block, in tiles of M rows and of fewer at the end.
template <class Weights, int M = Weights::ROWS>
void tiles(const Input& in, int64_t row, int64_t end, const uint8_t* block, int64_t from, int64_t to, int first, int last,
           float* out) {
    constexpr int V = Weights::vectors(M);
    for (; row + M <= end; row += M, out += M * BLOCK) {
        if (last - first < V)
            columns<Weights, M, 2>(in, row, block, from, to, first, out);
        else
            for (int vector = first; vector < last; vector += V)
                columns<Weights, M, V>(in, row, block, from, to, vector, out);
    }
    if constexpr (M > 1)
        tiles<Weights, (M == 12 ? 8 : M >= 6 ? 4 : M > 2 ? 2 : 1)>(in, row, end, block, from, to, first, last, out);
}

// The sums of at most CHUNK rows with vectors [first, last) of a block.
template <class Weights>
void product(const Input& in, int64_t row, int64_t end, const uint8_t* block, int64_t inputs, int first, int last,
             float* sums) {
    constexpr int64_t part = PART / group_bytes(Weights::KIND) * GROUP;
    const int64_t step = end - row <= Weights::ROWS ? inputs : part;
    for (int64_t from = 0; from < inputs; from += step)
        tiles<Weights>(in, row, end, block, from, std::min(inputs, from + step), first, last, sums);
}

// ---- Linear layers -------------------------------------------------------------------------------------------------

// Memory for the input of a product, kept from step to step.
struct Scratch {
    std::vector<float> floats, scales;
    std::vector<int8_t> integers;
    std::vector<int32_t> totals;

    void reserve(int64_t numbers) {
        if (static_cast<int64_t>(floats.size()) >= numbers) return;
        floats.resize(numbers);
        integers.resize(numbers);
        scales.resize(numbers / GROUP);
        totals.resize(numbers / GROUP);
    }
};

void normalise(const float* x, const Linear& op, float* out) {
    Floats squares = all(0);
    for (int64_t k = 0; k < op.inputs; k += W) squares = fma(load(x + k), load(x + k), squares);
    const Floats factor = all(1.0f / std::sqrt(sum(squares) / static_cast<float>(op.width) + op.epsilon));
    for (int64_t k = 0; k < op.inputs; k += W) store(out + k, load(x + k) * factor * load(op.gain + k));
}

// Integers from -127 to 127 in groups of 32, the largest magnitude of each at an end.
void quantize(const float* x, int64_t numbers, int8_t* integers, float* scales, int32_t* totals) {
    Floats damage = all(0);  // not a number where x is infinite or not a number, and so are all scales then
    for (int64_t k = 0; k < numbers; k += GROUP) {
        const Floats a = load(x + k), b = load(x + k + W);
        damage = fma(a, all(0), fma(b, all(0), damage));
        const float top = largest(larger(magnitude(a), magnitude(b)));
        const Floats inverse = all(top > 1e-36f ? 127.0f / top : 0.0f);
        scales[k / GROUP] = top / 127.0f;
        const Floats p = nearest(a * inverse), q = nearest(b * inverse);
        totals[k / GROUP] = static_cast<int32_t>(sum(p + q));
        store_bytes(integers + k, ints(p));
        store_bytes(integers + k + W, ints(q));
    }
    if (const float lost = sum(damage); std::isnan(lost)) std::fill_n(scales, numbers / GROUP, lost);
}

// Rows [first, last) as the product takes them.
void prepare(const Linear& op, const Step& step, int64_t first, int64_t last, Scratch& scratch) {
    const Buffer& in = step.buffers[op.in];
    for (int64_t m = first; m < last; m++) {
        const float* x = in.row(op.wanted ? step.wanted[m] : m);
        if (op.gain) {
            float* out = scratch.floats.data() + m * op.inputs;
            normalise(x, op, out);
            x = out;
        }
        if (op.kind == INT8 || op.kind == INT4) {
            const int64_t at = m * op.inputs;
            quantize(x, op.inputs, scratch.integers.data() + at, scratch.scales.data() + at / GROUP,
                     scratch.totals.data() + at / GROUP);
        }
    }
}

// What becomes of the sums of one row of vectors [first, last) of a block.
void finish(const Linear& op, const float* sums, int first, int last, float* out) {
    if (op.gated) {
        for (int v = 0; v < 2; v++) {
            const Floats gate = load(sums + v * W), value = load(sums + 2 * W + v * W);
            store(out + v * W, gate / (all(1) + exponential(all(0) - gate)) * value);
        }
        return;
    }
    for (int v = first; v < last; v++) {
        const Floats x = load(sums + v * W);
        store(out + v * W, op.adds ? load(out + v * W) + x : x);
    }
}

// A thread's share of the outputs, in halves of blocks; gates and their values stay together.
template <class Weights>
void share(const Linear& op, const Step& step, const Input& in, int64_t rows, int thread, int threads) {
    alignas(64) float sums[CHUNK * BLOCK];
    const Buffer& out = step.buffers[op.out];
    const int64_t size = op.inputs / GROUP * group_bytes(Weights::KIND), units = op.blocks * (op.gated ? 1 : 2);
    const int64_t end = units * (thread + 1) / threads;
    for (int64_t unit = units * thread / threads; unit < end;) {
        const int64_t block = op.gated ? unit : unit / 2;
        const int first = op.gated ? 0 : unit % 2 * 2, last = op.gated || unit + 1 < end ? 4 : first + 2;
        for (int64_t row = 0; row < rows; row += CHUNK) {
            const int64_t stop = std::min(rows, row + CHUNK);
            product<Weights>(in, row, stop, op.weights + block * size, op.inputs, first, last, sums);
            for (int64_t m = row; m < stop; m++)
                finish(op, sums + (m - row) * BLOCK, first, last, out.row(m) + block * (op.gated ? BLOCK / 2 : BLOCK));
        }
        unit += op.gated ? 1 : (last - first) / 2;
    }
}

void linear(const Linear& op, const Step& step, Scratch& common, int thread, int threads) {
    static thread_local Scratch own;
    const int64_t rows = op.wanted ? step.wanted_rows : step.rows;
    // A few rows are prepared by every thread for itself, which costs less than waiting for the others.
    const bool alone = rows * op.inputs <= 8192;
    Scratch& scratch = alone ? own : common;
    if (alone) own.reserve(rows * op.inputs);
    prepare(op, step, alone ? 0 : rows * thread / threads, alone ? rows : rows * (thread + 1) / threads, scratch);
    if (!alone) {
#pragma omp barrier
    }
    Input in{scratch.floats.data(), scratch.integers.data(), scratch.scales.data(), scratch.totals.data(), op.inputs};
    if (!op.gain) in.floats = step.buffers[op.in].data;
    if (!op.gain && (op.kind == FLOAT32 || op.kind == BFLOAT16)) in.step = step.buffers[op.in].step;
    switch (op.kind) {
        case FLOAT32: return share<Floats32>(op, step, in, rows, thread, threads);
        case BFLOAT16: return share<Floats16>(op, step, in, rows, thread, threads);
        case INT8: return share<Groups<8>>(op, step, in, rows, thread, threads);
        case INT4: return share<Groups<4>>(op, step, in, rows, thread, threads);
    }
}

// ---- Attention -----------------------------------------------------------------------------------------------------

constexpr int QUERIES = WIDE ? 6 : 3, COLUMNS = WIDE ? 4 : 2;  // 16 keys, or 16 numbers of a value, are a column

// Queries of one sequence that read the same key head: number i is of row `row` + i / group, head i % group of those.
struct Tile {
    int64_t row, query, queries, key_head;
};

// Where the keys and values of one sequence and head lie.
template <class T>
struct Pages {
    const T *keys, *values;
    const int32_t* table;
    int64_t page_size, heads, head, width, padded;

    Pages(const Attend& op, const Step& step, int64_t row, int64_t key_head)
        : keys(static_cast<const T*>(op.keys)), values(static_cast<const T*>(op.values)),
          table(step.tables + step.owners[row] * step.table_step), page_size(step.page_size), heads(op.key_heads),
          head(key_head), width(op.width), padded(rounded(op.width, W)) {}

    int64_t first(int64_t position) const {
        return (table[position / page_size] * heads + head) * page_size + position % page_size;
    }
    // The 16 keys from a multiple of 16 on: (width, 16).
    const T* keys_from(int64_t position) const { return keys + first(position) * width; }
    // The value of a position and those after it in its page, (padded) each.
    const T* values_from(int64_t position) const { return values + first(position) * padded; }
};

// Products of Q queries with V x 16 keys.
template <class T, int Q, int V>
void scores(const Pages<T>& pages, const float* const* queries, int64_t from, float* out, int64_t step) {
    const T* keys[V];
    for (int v = 0; v < V; v++) keys[v] = pages.keys_from(from + v * W);
    Floats sums[Q][V];
#pragma GCC unroll 6
    for (int q = 0; q < Q; q++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[q][v] = all(0);
    for (int64_t h = 0; h < pages.width; h++) {
        Floats key[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) key[v] = load(keys[v] + h * W);
#pragma GCC unroll 6
        for (int q = 0; q < Q; q++) {
            const Floats factor = all(queries[q][h]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sums[q][v] = fma(factor, key[v], sums[q][v]);
        }
    }
#pragma GCC unroll 6
    for (int q = 0; q < Q; q++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(out + q * step + from + v * W, sums[q][v]);
}

// Exponentials of a row's scores over the highest, and zeros behind them; returns one over their sum.
float softmax(float* row, int64_t length) {
    const int64_t whole = length / W * W, rest = length - whole;
    Floats high = all(-INFINITY);
    for (int64_t t = 0; t < whole; t += W) high = larger(high, load(row + t));
    if (rest) high = larger(high, first_lanes(rest, load(row + whole), high));
    const Floats top = all(largest(high));
    Floats total = all(0);
    for (int64_t t = 0; t < length; t += W) {
        Floats p = exponential(load(row + t) - top);
        if (t == whole) p = first_lanes(rest, p, all(0));
        total = total + p;
        store(row + t, p);
    }
    return 1.0f / sum(total);
}

// Q outputs += weights of keys [from, to) times V x 16 numbers of their values.
template <class T, int Q, int V>
void weighted(const Pages<T>& pages, const float* weights, int64_t step, int64_t from, int64_t to, int64_t column,
              float* out, int64_t out_step) {
    Floats sums[Q][V];
#pragma GCC unroll 6
    for (int q = 0; q < Q; q++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[q][v] = load(out + q * out_step + column + v * W);
    for (int64_t t = from; t < to;) {
        const T* values = pages.values_from(t) + column;
        for (const int64_t end = std::min(to, rounded(t + 1, pages.page_size)); t < end; t++, values += pages.padded) {
            Floats value[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) value[v] = load(values + v * W);
#pragma GCC unroll 6
            for (int q = 0; q < Q; q++) {
                const Floats factor = all(weights[q * step + t]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sums[q][v] = fma(factor, value[v], sums[q][v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int q = 0; q < Q; q++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(out + q * out_step + column + v * W, sums[q][v]);
}

// One tile: scores, softmax, and the weighted sum of values. A query reads no key behind its own position, whose memory
// may hold anything.
template <class T, int Q>
void attend_tile(const Attend& op, const Step& step, const Tile& tile) {
    static thread_local std::vector<float> memory;
    const Pages<T> pages(op, step, tile.row, tile.key_head);
    const int64_t group = op.heads / op.key_heads;
    const float* queries[Q];
    int64_t lengths[Q], rows[Q], heads[Q];
    for (int q = 0; q < Q; q++) {
        const int64_t i = tile.query + q;
        rows[q] = tile.row + i / group;
        heads[q] = tile.key_head * group + i % group;
        lengths[q] = step.positions[rows[q]] + 1;
        queries[q] = step.buffers[op.in].row(rows[q]) + heads[q] * op.width;
    }
    const int64_t longest = rounded(lengths[Q - 1], W), shortest = lengths[0];
    if (static_cast<int64_t>(memory.size()) < Q * (longest + pages.padded)) memory.resize(2 * Q * (longest + pages.padded));
    float *weights = memory.data(), *out = weights + Q * longest;
    std::fill_n(out, Q * pages.padded, 0.0f);
    int64_t t = 0;
    for (; t + COLUMNS * W <= longest; t += COLUMNS * W) scores<T, Q, COLUMNS>(pages, queries, t, weights, longest);
    for (; t < longest; t += W) scores<T, Q, 1>(pages, queries, t, weights, longest);
    float scales[Q];
    for (int q = 0; q < Q; q++) scales[q] = softmax(weights + q * longest, lengths[q]);
    int64_t column = 0;
    for (; column + COLUMNS * W <= pages.padded; column += COLUMNS * W)
        weighted<T, Q, COLUMNS>(pages, weights, longest, 0, shortest, column, out, pages.padded);
    for (; column < pages.padded; column += W)
        weighted<T, Q, 1>(pages, weights, longest, 0, shortest, column, out, pages.padded);
    for (int q = 0; q < Q; q++) {
        float* sums = out + q * pages.padded;
        for (column = 0; column < pages.padded && lengths[q] > shortest; column += W)
            weighted<T, 1, 1>(pages, weights + q * longest, longest, shortest, lengths[q], column, sums, 0);
        float* to = step.buffers[op.out].row(rows[q]) + heads[q] * op.width;
        for (int64_t h = 0; h < op.width; h += W)
            store_first(std::min<int64_t>(W, op.width - h), to + h, load(sums + h) * all(scales[q]));
    }
}

template <class T, int Q = QUERIES>
void attend_tiles(const Attend& op, const Step& step, const Tile& tile) {
    if (tile.queries == Q) return attend_tile<T, Q>(op, step, tile);
    if constexpr (Q > 1) attend_tiles<T, Q - 1>(op, step, tile);
}

INLINE void put(float* to, float x) { *to = x; }
INLINE void put(uint16_t* to, float x) { *to = _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

// Turns pair (i, i + width / 2) of each head by the angle of the row's position, and multiplies.
void turn(float* heads, int64_t count, int64_t width, const float* cosines, const float* sines, float scale) {
    const int64_t half = width / 2;
    for (float* x = heads; x < heads + count * width; x += width)
        for (int64_t i = 0; i < half; i += W) {
            const int64_t n = std::min<int64_t>(W, half - i);
            const Floats left = load_first(n, x + i), right = load_first(n, x + half + i);
            const Floats c = load_first(n, cosines + i), s = load_first(n, sines + i);
            store_first(n, x + i, (left * c - right * s) * all(scale));
            store_first(n, x + half + i, (right * c + left * s) * all(scale));
        }
}

// Turns queries and keys of a row, and writes its keys and values into the cache.
template <class T>
void write(const Attend& op, const Step& step, int64_t row) {
    const int64_t position = step.positions[row], width = op.width, half = width / 2;
    const float *cosines = step.cosines + position * half, *sines = step.sines + position * half;
    float* x = step.buffers[op.in].row(row);
    turn(x, op.heads, width, cosines, sines, 1.0f / std::sqrt(static_cast<float>(width)));
    x += op.heads * width;
    turn(x, op.key_heads, width, cosines, sines, 1.0f);
    const float* values = x + op.key_heads * width;
    for (int64_t head = 0; head < op.key_heads; head++, x += width, values += width) {
        const Pages<T> pages(op, step, row, head);
        T* key = const_cast<T*>(pages.keys_from(position / W * W)) + position % W;
        for (int64_t h = 0; h < width; h++) put(key + h * W, x[h]);
        T* value = const_cast<T*>(pages.values_from(position));
        for (int64_t h = 0; h < width; h += W)
            store(value + h, load_first(std::min<int64_t>(W, width - h), values + h));
    }
}

template <class T>
void attend(const Attend& op, const Step& step, const std::vector<Tile>& tiles, std::atomic<int64_t>& next, int thread,
            int threads) {
    if (thread == 0) next = 0;
    for (int64_t m = step.rows * thread / threads; m < step.rows * (thread + 1) / threads; m++) write<T>(op, step, m);
#pragma omp barrier
    for (int64_t i; (i = next.fetch_add(1)) < static_cast<int64_t>(tiles.size());) attend_tiles<T>(op, step, tiles[i]);
}

// All queries of a step in tiles: of fewer queries each while there are few tiles for the threads.
std::vector<Tile> all_tiles(const Attend& op, const Step& step) {
    std::vector<Tile> tiles;
    for (int64_t most = QUERIES; most; most = most / 2) {
        tiles.clear();
        for (int64_t row = 0, end; row < step.rows; row = end) {
            for (end = row + 1; end < step.rows && step.owners[end] == step.owners[row];) end++;
            const int64_t queries = (end - row) * (op.heads / op.key_heads);
            for (int64_t head = 0; head < op.key_heads; head++)
                for (int64_t q = 0; q < queries; q += most) tiles.push_back({row, q, std::min(most, queries - q), head});
        }
        if (static_cast<int64_t>(tiles.size()) >= 4 * step.threads) break;
    }
    return tiles;
}

// ---- Programs ------------------------------------------------------------------------------------------------------

void embed(const Embed& op, const Step& step, int thread, int threads) {
    for (int64_t m = step.rows * thread / threads; m < step.rows * (thread + 1) / threads; m++) {
        const int64_t token = step.tokens[m], groups = (op.width + GROUP - 1) / GROUP;
        float* out = step.buffers[op.out].row(m);
        std::fill(out + op.width, out + step.buffers[op.out].step, 0.0f);  // an earlier row may have left no number
        for (int64_t h = 0; h < op.width; h++) {
            const int64_t at = token * op.width + h;
            const uint16_t* halves = static_cast<const uint16_t*>(op.table);
            switch (op.dtype) {
                case TABLE_FLOAT32: out[h] = static_cast<const float*>(op.table)[at]; break;
                case TABLE_BFLOAT16: {
                    const uint32_t bits = static_cast<uint32_t>(halves[at]) << 16;
                    std::memcpy(out + h, &bits, 4);
                    break;
                }
                case TABLE_FLOAT16: out[h] = _cvtsh_ss(halves[at]); break;
                default:
                    out[h] = static_cast<const int8_t*>(op.table)[at] * _cvtsh_ss(op.scales[token * groups + h / GROUP]);
            }
        }
    }
}

// Whether all numbers of a step name rows, pages and positions that there are.
bool valid(const Step& step) {
    for (int64_t m = 0; m < step.rows; m++) {
        const int64_t position = step.positions[m], owner = step.owners[m];
        if (position < 0 || position >= step.angles || position / step.page_size >= step.table_step) return false;
        if (owner < 0 || owner >= step.sequences) return false;
        if (m + 1 < step.rows && step.owners[m + 1] == owner) {
            if (step.positions[m + 1] <= position) return false;
            continue;
        }
        const int32_t* table = step.tables + owner * step.table_step;
        for (int64_t page = 0; page <= position / step.page_size; page++)
            if (table[page] < 0 || table[page] >= step.pages) return false;
    }
    return std::all_of(step.wanted, step.wanted + step.wanted_rows,
                       [&](int64_t row) { return row >= 0 && row < step.rows; });
}

}  // namespace

// Works off all operators; 0, or 1 where a row, page or position doesn't exist, or 2 where a token doesn't; nothing is
// changed then. All ATTEND operators have the same heads.
extern "C" int64_t puna_decoder_run(const Operator* operators, int64_t count, const Step* step) {
    static thread_local Scratch scratch;
    static thread_local std::vector<Tile> tiles;
    if (!valid(*step)) return 1;
    int64_t numbers = 0;
    tiles.clear();
    for (const Operator* op = operators; op < operators + count; op++) {
        if (op->code == LINEAR) numbers = std::max(numbers, step->rows * op->linear.inputs);
        if (op->code == ATTEND && tiles.empty()) tiles = all_tiles(op->attend, *step);
        if (op->code == EMBED)
            for (int64_t m = 0; m < step->rows; m++)
                if (step->tokens[m] < 0 || step->tokens[m] >= op->embed.vocabulary) return 2;
    }
    scratch.reserve(numbers);
    Scratch& common = scratch;  // the caller's, for all threads
    const std::vector<Tile>& shared_tiles = tiles;
    std::atomic<int64_t> next{0};
#pragma omp parallel num_threads(static_cast<int>(step->threads))
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        for (const Operator* op = operators; op < operators + count; op++) {
            switch (op->code) {
                case EMBED: embed(op->embed, *step, thread, threads); break;
                case LINEAR: linear(op->linear, *step, common, thread, threads); break;
                case ATTEND:
                    if (op->attend.half)
                        attend<uint16_t>(op->attend, *step, shared_tiles, next, thread, threads);
                    else
                        attend<float>(op->attend, *step, shared_tiles, next, thread, threads);
            }
#pragma omp barrier
        }
    }
    return 0;
}

// A step of a LLaMA decoder, as a list of operators that one team of threads works off: linear layers with what stands
// before and after them, and attention over pages of keys and values.
//
// Rows are queries of any sequences. What is computed of a row depends on its own sequence alone, bit for bit: every
// output has one accumulator, inputs are taken in one order, and threads share outputs, never a sum. So it doesn't
// matter in which company, chunks or threads a row is computed.
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "attention.h"
#include "layout.h"
#include "low_rank.h"
#include "step.h"
#include "vectors.h"

namespace {

// ---- Products ------------------------------------------------------------------------------------------------------

constexpr int64_t PREFETCH = 4096;  // bytes ahead, where a block is read once from front to back
constexpr int64_t PART = 16384;     // bytes of a block, about, that stay in the first cache for all rows of a chunk
constexpr int64_t CHUNK = 48;       // rows whose sums stay there too
constexpr int64_t SKEW = 64;  // numbers between rows, so that those of a width of 2^n don't fall into one set of the cache

// The input of a product: floats, or integers in groups of 32 with their scales and sums.
struct Input {
    const float* floats;
    const int8_t* integers;
    const float* scales;
    const int32_t* totals;
    int64_t float_step, integer_step, groups;  // from row to row; of scales and sums `groups`
};

// Asks for the next bytes, a cache line at a time. A tile that reads a block once asks for what it reads soon; the tiles
// that share a part of a block ask for the next part, the first of each column for its share of it.
template <int V, int LINES>
INLINE void prefetch(const uint8_t* next) {
    if (V < 4 && !next) return;
#pragma GCC unroll 4
    for (int i = 0; i < LINES; i++)
        _mm_prefetch(reinterpret_cast<const char*>(next + 64 * i), V == 4 ? _MM_HINT_T0 : _MM_HINT_T1);
}

// Each kind of weights adds the products of M rows with V vectors of a block, from `vector` on, for some inputs.
struct Floats32 {
    static constexpr Kind KIND = FLOAT32;
    static constexpr int ROWS = WIDE ? 12 : 6;
    static constexpr int vectors(int rows) { return WIDE ? (rows <= 4 ? 4 : 2) : rows == 1 ? 4 : rows == 2 ? 2 : 1; }

    template <int M, int V>
    INLINE void add(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector,
                    const uint8_t* next, Floats (&sums)[M][V]) {
        const float* x = in.floats + row * in.float_step;
        for (int64_t k = from; k < to; k++) {
            const uint8_t* at = block + k * BLOCK * 4;
            prefetch<V, V>(next);
            if (V == 4 || next) next += V * 64;
            Floats weights[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) weights[v] = load(reinterpret_cast<const float*>(at) + (vector + v) * W);
#pragma GCC unroll 12
            for (int m = 0; m < M; m++) {
                const Floats factor = all(x[m * in.float_step + k]);
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
                    const uint8_t* next, Floats (&sums)[M][V]) {
        const float* x = in.floats + row * in.float_step;
        for (int64_t k = from; k < to; k++) {
            const uint8_t* at = block + k * BLOCK * 2;
            prefetch<V, (V + 1) / 2>(next);
            if (V == 4 || next) next += V * 32;
            Floats weights[V];
            if constexpr (V == 1) weights[0] = load_half_of_pair(at + vector / 2 * W * 4, vector % 2);
#pragma GCC unroll 2
            for (int v = 0; v + 1 < V; v += 2) load_pair(at + (vector + v) * W * 2, weights[v], weights[v + 1]);
#pragma GCC unroll 12
            for (int m = 0; m < M; m++) {
                const Floats factor = all(x[m * in.float_step + k]);
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
    static constexpr int vectors(int rows) { return WIDE ? (rows <= (BITS == 4 ? 4 : 2) ? 4 : 2) : rows == 1 ? 4 : 1; }

    template <int M, int V>
    INLINE void add(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector,
                    const uint8_t* next, Floats (&sums)[M][V]) {
        const int64_t groups = in.groups;
        const uint8_t* at = block + from / GROUP * group_bytes(KIND) + vector * W * 4;
        const int64_t to_scales = BITS * BLOCK * 4 - vector * W * 2;
        for (int64_t g = from / GROUP; g < to / GROUP; g++, at += group_bytes(KIND)) {
            const int8_t* x = in.integers + row * in.integer_step + g * GROUP;
            const int64_t scale = row * groups + g;
            Dot<BITS> dots[M][V];
#pragma GCC unroll 8
            for (int m = 0; m < M; m++)
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) dots[m][v] = Dot<BITS>::start(in.totals[scale + m * groups]);
#pragma GCC unroll 8
            for (int k = 0; k < BITS; k++) {  // 4 inputs each, or 8 of 4 bits
                prefetch<V, V>(next);
                if (V == 4 || next) next += V * 64;
                Bytes weights[V];
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) weights[v] = load_bytes(at + (k * BLOCK + v * W) * 4);
                if constexpr (BITS == 8) {
#pragma GCC unroll 8
                    for (int m = 0; m < M; m++) {
                        const Four factor = four(x + m * in.integer_step + 4 * k);
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
                        const Four first = four(x + m * in.integer_step + 8 * k), second = four(x + m * in.integer_step + 8 * k + 4);
#pragma GCC unroll 4
                        for (int v = 0; v < V; v++) {
                            dots[m][v].add(weights[v], first);
                            dots[m][v].add(upper[v], second);
                        }
                    }
                }
            }
            prefetch<V, (V + 1) / 2>(next);
            if (V == 4 || next) next += V * 32;
            const uint16_t* scales = reinterpret_cast<const uint16_t*>(at + to_scales);
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

// M rows with V vectors of a block, added to the sums of the inputs before `from`. A function of its own, so that the
// compiler has all registers for its loop.
template <class Weights, int M, int V>
__attribute__((noinline)) void columns(const Input& in, int64_t row, const uint8_t* block, int64_t from, int64_t to, int vector,
             const uint8_t* next, float* out) {
    Floats sums[M][V];
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[m][v] = from ? load(out + m * BLOCK + (vector + v) * W) : all(0);
    Weights::template add<M, V>(in, row, block, from, to, vector, next, sums);
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(out + m * BLOCK + (vector + v) * W, sums[m][v]);
}

// Rows [row, end) with vectors [first, last) of a block, in tiles of M rows and of fewer at the end; the first of them
// ask for the memory from `next` on, as much as they read.
template <class Weights, int M = Weights::ROWS>
void tiles(const Input& in, int64_t row, int64_t end, const uint8_t* block, int64_t from, int64_t to, int first, int last,
           const uint8_t* next, float* out) {
    constexpr int V = Weights::vectors(M);
    const int64_t quarter = (to - from) * group_bytes(Weights::KIND) / GROUP / 4;
    for (; row + M <= end; row += M, out += M * BLOCK, next = nullptr)
        for (int vector = first; vector < last;) {
            const uint8_t* share = next ? next + vector * quarter : V == 4 ? block : nullptr;
            if constexpr (V == 4)
                if (last - vector == 2) {
                    columns<Weights, M, 2>(in, row, block, from, to, vector, share, out);
                    vector += 2;
                    continue;
                }
            columns<Weights, M, V>(in, row, block, from, to, vector, share, out);
            vector += V;
        }
    if constexpr (M > 1) {
        constexpr int fewer = M == 12 ? 8 : M >= 6 ? 4 : M / 2;
        tiles<Weights, fewer>(in, row, end, block, from, to, first, last, next, out);
    }
}

// The sums of at most CHUNK rows with vectors [first, last) of a block.
template <class Weights>
void product(const Input& in, int64_t row, int64_t end, const uint8_t* block, int64_t inputs, int first, int last,
             float* sums) {
    const int64_t rows = end - row;
    const bool once = (rows & (rows - 1)) == 0 && rows <= 4 && Weights::vectors(static_cast<int>(rows)) == 4;
    const int64_t step = once ? inputs : PART / group_bytes(Weights::KIND) * GROUP;
    for (int64_t from = 0; from < inputs; from += step) {
        const int64_t to = std::min(inputs, from + step);
        const uint8_t* next = block + (once ? PREFETCH : to * group_bytes(Weights::KIND) / GROUP);
        tiles<Weights>(in, row, end, block, from, to, first, last, next, sums);
    }
}

// ---- Linear layers -------------------------------------------------------------------------------------------------

// Memory for the input of a product, kept from step to step.
struct Scratch {
    std::vector<float> floats, scales, lows;
    std::vector<int8_t> integers;
    std::vector<int32_t> totals;

    void reserve(int64_t rows, int64_t inputs, int64_t ranks) {
        if (static_cast<int64_t>(lows.size()) < rows * ranks) lows.resize(rows * ranks);
        const int64_t numbers = rows * (inputs + SKEW);
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
            float* out = scratch.floats.data() + m * (op.inputs + SKEW);
            normalise(x, op, out);
            x = out;
        }
        if (op.kind == INT8 || op.kind == INT4) {
            const int64_t groups = m * op.inputs / GROUP;
            quantize(x, op.inputs, scratch.integers.data() + m * (op.inputs + SKEW), scratch.scales.data() + groups,
                     scratch.totals.data() + groups);
        }
    }
    by_update(op, step, first, last, [&](const Update& update, int64_t row, int64_t end) {
        const int64_t x_step = op.gain ? op.inputs + SKEW : in.step;
        const float* x = (op.gain ? scratch.floats.data() : in.data) + row * x_step;
        lower(update, x, x_step, op.inputs, scratch.lows.data() + row * op.ranks, op.ranks, end - row);
    });
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
void share(const Linear& op, const Step& step, const Input& in, const float* lows, int64_t rows, int thread, int threads) {
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
            by_update(op, step, row, stop, [&](const Update& update, int64_t from, int64_t to) {
                raise(update, lows + from * op.ranks, op.ranks, block * BLOCK / W, first, last,
                      sums + (from - row) * BLOCK, BLOCK, to - from);
            });
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
    if (alone) own.reserve(rows, op.inputs, op.ranks);
    prepare(op, step, alone ? 0 : rows * thread / threads, alone ? rows : rows * (thread + 1) / threads, scratch);
    if (!alone) {
#pragma omp barrier
    }
    const Buffer& whole = step.buffers[op.in];
    const Input in{op.gain ? scratch.floats.data() : whole.data, scratch.integers.data(), scratch.scales.data(),
                   scratch.totals.data(), op.gain ? op.inputs + SKEW : whole.step, op.inputs + SKEW, op.inputs / GROUP};
    switch (op.kind) {
        case FLOAT32: return share<Floats32>(op, step, in, scratch.lows.data(), rows, thread, threads);
        case BFLOAT16: return share<Floats16>(op, step, in, scratch.lows.data(), rows, thread, threads);
        case INT8: return share<Groups<8>>(op, step, in, scratch.lows.data(), rows, thread, threads);
        case INT4: return share<Groups<4>>(op, step, in, scratch.lows.data(), rows, thread, threads);
    }
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
        if (step.adapter(m) < -1 || step.adapter(m) >= step.adapter_count) return false;
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

// Works off all operators; 0, or 1 where a row, page, position or adapter doesn't exist, or 2 where a token doesn't; nothing is
// changed then. All ATTEND operators have the same heads.
extern "C" int64_t puna_decoder_run(const Operator* operators, int64_t count, const Step* step) {
    static thread_local Scratch scratch;
    static thread_local std::vector<Tile> tiles;
    if (!valid(*step)) return 1;
    int64_t widest = 0, ranks = 0;
    tiles.clear();
    for (const Operator* op = operators; op < operators + count; op++) {
        if (op->code == LINEAR) {
            widest = std::max(widest, op->linear.inputs);
            ranks = std::max(ranks, op->linear.ranks);
        }
        if (op->code == ATTEND && tiles.empty()) tiles = all_tiles(op->attend, *step);
        if (op->code == EMBED)
            for (int64_t m = 0; m < step->rows; m++)
                if (step->tokens[m] < 0 || step->tokens[m] >= op->embed.vocabulary) return 2;
    }
    scratch.reserve(step->rows, widest, step->adapters ? ranks : 0);
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

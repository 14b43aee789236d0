// Attention over pages of keys and values, for queries of any sequences.
//
// Lanes are keys while scores are made, and numbers of a value while these are summed up. Queries that read the same key
// head, and queries of one sequence, share what is read, each with its own sums in the same order as alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "layout.h"
#include "step.h"
#include "vectors.h"

namespace {

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

}  // namespace

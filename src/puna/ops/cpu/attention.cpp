// Causal attention in float32, forward and backward, by blocks that lie in a core's cache.
//
// One thread takes one head of one sequence at a time, so no sum depends on how many threads there are. Scores exist
// for a tile of queries and a block of keys at a time. The softmax is built up over blocks of keys (Milakov and
// Gimelshein 2018), and the backward pass makes its weights again from each row's logarithm of the sum (Dao et al.
// 2022).
//
// Shapes: B sequences, N query heads, K key and value heads, T queries, which are the last T of S positions, H width.
#include <cstdlib>
#include <new>

#include "products.h"

// A (B, heads, tokens, H) tensor whose last axis is contiguous.
struct Heads {
    float* data;
    int64_t batch, head, token;  // steps, in floats

    float* at(int64_t b, int64_t n, int64_t t) const { return data + b * batch + n * head + t * token; }
};

// The number of the document of each query (B, T) and key (B, S), contiguous; null where there are none.
struct Documents {
    const int32_t *queries, *keys;
};

struct Sizes {
    int64_t batch, heads, key_heads, tokens, keys, width, threads;
};

namespace {

constexpr int64_t QUERIES = 96, KEYS = 96;  // of a block; whole tiles and panels for every W
static_assert(QUERIES % TILE_ROWS == 0 && KEYS % PANEL == 0);
constexpr float LOWEST = -1e30f;  // less than any score, and finite, so that a difference of two is a number

int64_t rounded(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Memory of one thread, kept from call to call: fresh pages cost more than the sums that are put there.
float* scratch(int64_t floats) {
    struct Owned {
        float* data = nullptr;
        int64_t floats = 0;
        ~Owned() { std::free(data); }
    };
    static thread_local Owned owned;
    if (owned.floats < floats) {
        std::free(owned.data);
        owned.floats = 0;
        owned.data = static_cast<float*>(std::aligned_alloc(64, rounded(floats * sizeof(float), 64)));
        if (!owned.data) throw std::bad_alloc();
        owned.floats = floats;
    }
    return owned.data;
}

// Hands out parts of a scratch, each on a cache line.
struct Parts {
    float* next;
    float* take(int64_t floats) {
        float* part = next;
        next += rounded(floats, 16);
        return part;
    }
};

// Rows of one head, each filled up with zeros to `padded`, times a factor.
void copy_rows(const float* from, int64_t step, int64_t rows, int64_t width, int64_t padded, float factor, float* to) {
    for (int64_t t = 0; t < rows; t++, from += step, to += padded) {
        for (int64_t h = 0; h < width; h++) to[h] = from[h] * factor;
        for (int64_t h = width; h < padded; h++) to[h] = 0;
    }
}

// The transpose of rows (S, H), in panels: (S / PANEL, H, PANEL), filled up with zeros.
void copy_panels(const float* from, int64_t step, int64_t rows, int64_t width, float* to) {
    for (int64_t s0 = 0; s0 < rounded(rows, PANEL); s0 += W) {
        float* panel = to + s0 / PANEL * PANEL * width + s0 % PANEL;
        const int64_t n = std::min<int64_t>(W, rows - s0);
        int64_t h = 0;
        for (; n == W && h + W <= width; h += W) {
            Floats square[W];
#pragma GCC unroll 16
            for (int i = 0; i < W; i++) square[i] = load(from + (s0 + i) * step + h);
            transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < W; i++) store(panel + (h + i) * PANEL, square[i]);
        }
        for (; h < width; h++)
            for (int64_t s = 0; s < W; s++) panel[h * PANEL + s] = s < n ? from[(s0 + s) * step + h] : 0;
    }
}

// What a row of scores may not see becomes minus infinity: keys from `seen` on, and those of other documents.
void mask_row(float* scores, int64_t seen, int64_t columns, const int32_t* keys, int32_t document) {
    for (int64_t n = std::max<int64_t>(seen, 0); n < columns; n++) scores[n] = -INFINITY;
    if (keys)
        for (int64_t n = 0; n < seen; n++)
            if (keys[n] != document) scores[n] = -INFINITY;
}

// Whether any of these keys is of any document between those of the queries.
bool documents_meet(const int32_t* queries, int64_t rows, const int32_t* keys, int64_t columns) {
    const auto [low_q, high_q] = std::minmax_element(queries, queries + rows);
    const auto [low_k, high_k] = std::minmax_element(keys, keys + columns);
    return *low_q <= *high_k && *low_k <= *high_q;
}

// Exponentials of a row of scores over the highest so far; what was summed up before is scaled to it.
void softmax_row(float* scores, int64_t columns, float& highest, float& total, float* out, int64_t width) {
    Floats high = all(highest);
    for (int64_t n = 0; n < columns; n += W) high = largest(high, load(scores + n));
    const float top = largest(high);
    Floats added{};
    for (int64_t n = 0; n < columns; n += W) {
        const Floats p = exponential(load(scores + n) - top);
        added += p;
        store(scores + n, p);
    }
    if (top > highest) {
        const Floats kept = exponential(all(highest) - top);
        for (int64_t h = 0; h < width; h += W) store(out + h, load(out + h) * kept);
        total *= kept[0];
        highest = top;
    }
    total += sum(added);
}

// The block of one head that runs now.
struct Block {
    const Sizes& z;
    const Documents& documents;
    int64_t b, query, rows, key = 0, columns = 0;

    // How many keys of the block the row may see, by position alone; none if not positive.
    int64_t seen(int64_t row) const { return std::min(columns, query + row + z.keys - z.tokens - key + 1); }

    // The next block of keys from `key` on that any row may see.
    bool find() {
        for (; key <= query + rows - 1 + z.keys - z.tokens; key += KEYS) {
            columns = std::min(KEYS, z.keys - key);
            if (!documents.queries || documents_meet(query_documents(), rows, key_documents(), columns)) return true;
        }
        return false;
    }
    const int32_t* query_documents() const { return documents.queries + b * z.tokens + query; }
    const int32_t* key_documents() const { return documents.keys + b * z.keys + key; }

    void mask(float* scores, int64_t row, int64_t width) const {
        const int64_t visible = seen(row);
        if (documents.queries)
            mask_row(scores, visible, width, key_documents(), query_documents()[row]);
        else if (visible < width)
            mask_row(scores, visible, width, nullptr, 0);
    }
};

void forward_head(const Sizes& z, int64_t b, int64_t n, const Heads& q, const Heads& k, const Heads& v,
                  const Documents& documents, const Heads& out, float* lse) {
    const int64_t shared = n / (z.heads / z.key_heads), padded = rounded(z.width, W), keys = rounded(z.keys, PANEL);
    Parts parts{scratch(keys * (z.width + padded) + QUERIES * (z.width + padded) + TILE_ROWS * KEYS + 64)};
    float *k_panels = parts.take(keys * z.width), *v_rows = parts.take(keys * padded);
    float *q_rows = parts.take(QUERIES * z.width), *sums = parts.take(QUERIES * padded);
    float* scores = parts.take(TILE_ROWS * KEYS);
    copy_panels(k.at(b, shared, 0), k.token, z.keys, z.width, k_panels);
    copy_rows(v.at(b, shared, 0), v.token, z.keys, z.width, padded, 1, v_rows);
    const float scale = 1 / std::sqrt(static_cast<float>(z.width));
    for (int64_t query = 0; query < z.tokens; query += QUERIES) {
        Block block{z, documents, b, query, std::min(QUERIES, z.tokens - query)};
        float highest[QUERIES], totals[QUERIES] = {};
        std::fill_n(highest, QUERIES, LOWEST);
        std::fill_n(sums, block.rows * padded, 0.0f);
        copy_rows(q.at(b, n, query), q.token, block.rows, z.width, z.width, scale, q_rows);
        for (; block.find(); block.key += KEYS)
            for (int64_t row = 0; row < block.rows; row += TILE_ROWS) {
                const int64_t rows = std::min<int64_t>(TILE_ROWS, block.rows - row), seen = block.seen(row + rows - 1);
                if (seen <= 0) continue;
                const int64_t columns = rounded(seen, W);
                row_of_tiles<ROWS, false>(rows, columns, z.width, q_rows + row * z.width, z.width,
                                   k_panels + block.key * z.width, PANEL, z.width * PANEL, scores, KEYS);
                for (int64_t r = 0; r < rows; r++) {
                    block.mask(scores + r * KEYS, row + r, columns);
                    softmax_row(scores + r * KEYS, columns, highest[row + r], totals[row + r],
                                sums + (row + r) * padded, padded);
                }
                row_of_tiles<ROWS, true>(rows, padded, seen, scores, KEYS, v_rows + block.key * padded, padded, PANEL,
                                   sums + row * padded, padded);
            }
        for (int64_t row = 0; row < block.rows; row++) {
            float* to = out.at(b, n, query + row);
            const float inverse = 1 / totals[row];
            for (int64_t h = 0; h < z.width; h++) to[h] = sums[row * padded + h] * inverse;
            lse[(b * z.heads + n) * z.tokens + query + row] = highest[row] + std::log(totals[row]);
        }
    }
}

float dot(const float* x, const float* y, int64_t width) {
    Floats sums{};
    int64_t h = 0;
    for (; h + W <= width; h += W) sums += load(x + h) * load(y + h);
    float rest = 0;
    for (; h < width; h++) rest += x[h] * y[h];
    return sum(sums) + rest;
}

// From scores to weights and from the weights' gradients to those of the scores, row by row; `means` are the rows' sums
// of weight times gradient, which the softmax's Jacobian takes away.
void differentiate_row(float* weights, float* grads, int64_t columns, float lse, float mean) {
    for (int64_t n = 0; n < columns; n += W) {
        const Floats p = exponential(load(weights + n) - lse);
        store(weights + n, p);
        store(grads + n, p * (load(grads + n) - mean));
    }
    std::fill(weights + columns, weights + KEYS, 0.0f);
    std::fill(grads + columns, grads + KEYS, 0.0f);
}

void backward_head(const Sizes& z, int64_t b, int64_t n, const Heads& grad, const Heads& q, const Heads& k,
                   const Heads& v, const Heads& out, const float* lse, const Documents& documents, const Heads& grad_q,
                   const Heads& grad_k, const Heads& grad_v) {
    const int64_t shared = n / (z.heads / z.key_heads), padded = rounded(z.width, W), keys = rounded(z.keys, PANEL);
    const int64_t width = z.width;
    Parts parts{scratch(keys * (2 * width + 3 * padded) + QUERIES * (3 * padded + 2 * KEYS) + 160)};
    float *k_panels = parts.take(keys * width), *v_panels = parts.take(keys * width);
    float *k_rows = parts.take(keys * padded), *k_sums = parts.take(keys * padded), *v_sums = parts.take(keys * padded);
    float *q_rows = parts.take(QUERIES * padded), *grad_rows = parts.take(QUERIES * padded);
    float *q_sums = parts.take(QUERIES * padded);
    float *weights = parts.take(QUERIES * KEYS), *grads = parts.take(QUERIES * KEYS);
    copy_panels(k.at(b, shared, 0), k.token, z.keys, width, k_panels);
    copy_panels(v.at(b, shared, 0), v.token, z.keys, width, v_panels);
    copy_rows(k.at(b, shared, 0), k.token, z.keys, width, padded, 1, k_rows);
    std::fill_n(k_sums, keys * padded, 0.0f);
    std::fill_n(v_sums, keys * padded, 0.0f);
    const float scale = 1 / std::sqrt(static_cast<float>(width));
    lse += (b * z.heads + n) * z.tokens;
    for (int64_t query = 0; query < z.tokens; query += QUERIES) {
        Block block{z, documents, b, query, std::min(QUERIES, z.tokens - query)};
        float means[QUERIES];
        copy_rows(q.at(b, n, query), q.token, block.rows, width, padded, scale, q_rows);
        copy_rows(grad.at(b, n, query), grad.token, block.rows, width, padded, 1, grad_rows);
        for (int64_t row = 0; row < block.rows; row++) {
            means[row] = dot(out.at(b, n, query + row), grad_rows + row * padded, width);
        }
        std::fill_n(q_sums, block.rows * padded, 0.0f);
        for (; block.find(); block.key += KEYS) {
            const int64_t key = block.key;
            for (int64_t row = 0; row < block.rows; row += TILE_ROWS) {
                const int64_t rows = std::min<int64_t>(TILE_ROWS, block.rows - row), seen = block.seen(row + rows - 1);
                if (seen <= 0) continue;
                const int64_t columns = rounded(seen, W);
                float *tile_weights = weights + row * KEYS, *tile_grads = grads + row * KEYS;
                row_of_tiles<ROWS, false>(rows, columns, width, q_rows + row * padded, padded, k_panels + key * width, PANEL,
                                   width * PANEL, tile_weights, KEYS);
                row_of_tiles<ROWS, false>(rows, columns, width, grad_rows + row * padded, padded, v_panels + key * width,
                                   PANEL, width * PANEL, tile_grads, KEYS);
                for (int64_t r = 0; r < rows; r++) {
                    block.mask(tile_weights + r * KEYS, row + r, columns);
                    differentiate_row(tile_weights + r * KEYS, tile_grads + r * KEYS, columns, lse[query + row + r],
                                      means[row + r]);
                }
                row_of_tiles<ROWS, true>(rows, padded, seen, tile_grads, KEYS, k_rows + key * padded, padded, PANEL,
                                   q_sums + row * padded, padded);
            }
            for (int64_t column = 0; column < block.columns; column += TILE_ROWS) {
                // The first query that sees the column's key.
                const int64_t first = std::max<int64_t>(0, key + column - (z.keys - z.tokens) - query);
                if (first >= block.rows) break;
                const int64_t rows = std::min<int64_t>(TILE_ROWS, block.columns - column), depth = block.rows - first;
                row_of_tiles<COLUMNS, true>(rows, padded, depth, weights + first * KEYS + column, KEYS,
                                      grad_rows + first * padded, padded, PANEL, v_sums + (key + column) * padded,
                                      padded);
                row_of_tiles<COLUMNS, true>(rows, padded, depth, grads + first * KEYS + column, KEYS,
                                      q_rows + first * padded, padded, PANEL, k_sums + (key + column) * padded, padded);
            }
        }
        for (int64_t row = 0; row < block.rows; row++) {
            float* to = grad_q.at(b, n, query + row);
            for (int64_t h = 0; h < width; h++) to[h] = q_sums[row * padded + h] * scale;
        }
    }
    for (int64_t s = 0; s < z.keys; s++) {
        std::copy_n(k_sums + s * padded, width, grad_k.at(b, n, s));
        std::copy_n(v_sums + s * padded, width, grad_v.at(b, n, s));
    }
}

}  // namespace

// out, and lse (B, N, T): the logarithm of each query's sum of exponentials.
extern "C" void puna_attention(Sizes z, Heads q, Heads k, Heads v, Documents documents, Heads out, float* lse) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(z.threads)
    for (int64_t i = 0; i < z.batch * z.heads; i++)
        forward_head(z, i / z.heads, i % z.heads, q, k, v, documents, out, lse);
}

// grad_q, and grad_k and grad_v for each query head: (B, N, S, H), to be summed over those that share a key head.
extern "C" void puna_attention_backward(Sizes z, Heads grad, Heads q, Heads k, Heads v, Heads out, const float* lse,
                                        Documents documents, Heads grad_q, Heads grad_k, Heads grad_v) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(z.threads)
    for (int64_t i = 0; i < z.batch * z.heads; i++)
        backward_head(z, i / z.heads, i % z.heads, grad, q, k, v, out, lse, documents, grad_q, grad_k, grad_v);
}

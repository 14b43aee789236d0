// What adapters add to the products of linear layers, row by row: each row has its own adapter, or none.
//
// A row is lowered once and raised where its sums lie, with the sums in one order, so its bits don't depend on others.
#pragma once

#include "step.h"
#include "vectors.h"

namespace {

// The update of an operator's row; null where there is none. `m` counts the rows that the operator computes.
INLINE const Update* update_of(const Linear& op, const Step& step, int64_t m) {
    if (!step.adapters || !op.updates) return nullptr;
    const int64_t number = step.adapter(op.wanted ? step.wanted[m] : m);
    return number < 0 || !op.updates[number].down ? nullptr : op.updates + number;
}

// down x. A rank has four sums, of every fourth input each, so that a product doesn't wait for the one before.
inline void lower(const Update& update, const float* x, int64_t inputs, float* low) {
    const float* down = update.down;
    for (int64_t rank = 0; rank < update.ranks; rank += W) {
        Floats sums[4] = {all(0), all(0), all(0), all(0)};
        for (int64_t k = 0; k < inputs; k += 4, down += 4 * W)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) sums[i] = fma(all(x[k + i]), load(down + i * W), sums[i]);
        store(low + rank, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
}

// Adds up(low) to one row's sums of vectors [first, last) of a block whose first one is number `vector` of the layer.
inline void raise(const Update& update, const float* low, int64_t vector, int first, int last, float* sums) {
    for (int v = first; v < last; v++) {
        const int64_t* span = update.spans + 3 * (vector + v);
        const float* up = update.up + span[2];
        Floats x = load(sums + v * W);
        for (int64_t rank = span[0]; rank < span[1]; rank++, up += W) x = fma(all(low[rank]), load(up), x);
        store(sums + v * W, update.factors ? x * load(update.factors + (vector + v) * W) : x);
    }
}

}  // namespace

// What adapters add to the products of linear layers, row by row: each row has its own adapter, or none.
//
// A row is lowered once and raised where its sums lie, each with sums of its own in one order, so its bits don't depend
// on others; neighbours with the same adapter only share the loading of its numbers.
#pragma once

#include "step.h"
#include "vectors.h"

namespace {

constexpr int LOWERED = WIDE ? 4 : 1, RAISED = WIDE ? 8 : 4;  // rows that share a load, at most

// The update of an operator's row; null where there is none. `m` counts the rows that the operator computes.
INLINE const Update* update_of(const Linear& op, const Step& step, int64_t m) {
    if (!step.adapters || !op.updates) return nullptr;
    const int64_t number = step.adapter(op.wanted ? step.wanted[m] : m);
    return number < 0 || !op.updates[number].down ? nullptr : op.updates + number;
}

// Calls work(update, first row, row behind the last) for all neighbours among rows [row, end) with the same update.
template <class Work>
void by_update(const Linear& op, const Step& step, int64_t row, int64_t end, Work work) {
    if (!step.adapters || !op.updates) return;
    while (row < end) {
        const Update* update = update_of(op, step, row);
        const int64_t first = row++;
        while (row < end && update_of(op, step, row) == update) row++;
        if (update) work(*update, first, row);
    }
}

// down x of rows that are `x_step` and `low_step` numbers apart. A rank has four sums, of every fourth input each, so
// that a product doesn't wait for the one before.
template <int M = LOWERED>
void lower(const Update& update, const float* x, int64_t x_step, int64_t inputs, float* low, int64_t low_step,
           int64_t rows) {
    for (; rows >= M; rows -= M, x += M * x_step, low += M * low_step) {
        const float* down = update.down;
        for (int64_t rank = 0; rank < update.ranks; rank += W) {
            Floats sums[M][4];
#pragma GCC unroll 4
            for (int m = 0; m < M; m++)
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) sums[m][i] = all(0);
            for (int64_t k = 0; k < inputs; k += 4, down += 4 * W)
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) {
                    const Floats numbers = load(down + i * W);
#pragma GCC unroll 4
                    for (int m = 0; m < M; m++) sums[m][i] = fma(all(x[m * x_step + k + i]), numbers, sums[m][i]);
                }
#pragma GCC unroll 4
            for (int m = 0; m < M; m++)
                store(low + m * low_step + rank, (sums[m][0] + sums[m][1]) + (sums[m][2] + sums[m][3]));
        }
    }
    if constexpr (M > 1) lower<M / 2>(update, x, x_step, inputs, low, low_step, rows);
}

// Adds up(low) to the sums of rows, vectors [first, last) of a block whose first one is number `vector` of the layer.
template <int M = RAISED>
void raise(const Update& update, const float* low, int64_t low_step, int64_t vector, int first, int last, float* sums,
           int64_t sums_step, int64_t rows) {
    for (; rows >= M; rows -= M, low += M * low_step, sums += M * sums_step)
        for (int v = first; v < last; v++) {
            const int64_t* span = update.spans + 3 * (vector + v);
            const float* up = update.up + span[2];
            Floats x[M];
#pragma GCC unroll 8
            for (int m = 0; m < M; m++) x[m] = load(sums + m * sums_step + v * W);
            for (int64_t rank = span[0]; rank < span[1]; rank++, up += W) {
                const Floats numbers = load(up);
#pragma GCC unroll 8
                for (int m = 0; m < M; m++) x[m] = fma(all(low[m * low_step + rank]), numbers, x[m]);
            }
            const Floats factors = update.factors ? load(update.factors + (vector + v) * W) : all(1);
#pragma GCC unroll 8
            for (int m = 0; m < M; m++) store(sums + m * sums_step + v * W, x[m] * factors);
        }
    if constexpr (M > 1) raise<M / 2>(update, low, low_step, vector, first, last, sums, sums_step, rows);
}

}  // namespace

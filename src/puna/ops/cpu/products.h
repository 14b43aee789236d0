// Products of small matrices that lie in a core's cache, all row by row.
//
// C (M x N) = A (M x K) B (K x N), with N a multiple of W. A tile of C stays in registers while k runs; a factor is one
// number of A for all columns of the tile.
#pragma once

#include <algorithm>

#include "vectors.h"

// How the rows of A lie: `ROWS` has a(m, k) at a[m * lda + k], `COLUMNS` has it at a[k * lda + m].
enum Order { ROWS, COLUMNS };

template <int M, int V, Order ORDER, bool ADD>
static inline void tile(int64_t depth, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
    Floats sums[M][V];
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sums[m][v] = ADD ? load(c + m * ldc + v * W) : Floats{};
    for (int64_t k = 0; k < depth; k++) {
        Floats columns[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) columns[v] = load(b + k * ldb + v * W);
#pragma GCC unroll 16
        for (int m = 0; m < M; m++) {
            const Floats factor = all(ORDER == ROWS ? a[m * lda + k] : a[k * lda + m]);
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) sums[m][v] += factor * columns[v];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) store(c + m * ldc + v * W, sums[m][v]);
}

// A tile of `rows` <= M rows.
template <int M, int V, Order ORDER, bool ADD>
static inline void tile_of(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b, int64_t ldb,
                           float* c, int64_t ldc) {
    if (rows >= M) return tile<M, V, ORDER, ADD>(depth, a, lda, b, ldb, c, ldc);
    if constexpr (M > 1) tile_of<M - 1, V, ORDER, ADD>(rows, depth, a, lda, b, ldb, c, ldc);
}

// One row of tiles: `rows` <= TILE_ROWS of C, all `columns`.
template <Order ORDER, bool ADD>
static inline void row_of_tiles(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t lda,
                                const float* b, int64_t ldb, int64_t panel, float* c, int64_t ldc) {
    int64_t n = 0;
    for (; n + PANEL <= columns; n += PANEL)
        tile_of<TILE_ROWS, 2, ORDER, ADD>(rows, depth, a, lda, b + n / PANEL * panel, ldb, c + n, ldc);
    if (n < columns) tile_of<TILE_ROWS, 1, ORDER, ADD>(rows, depth, a, lda, b + n / PANEL * panel, ldb, c + n, ldc);
}

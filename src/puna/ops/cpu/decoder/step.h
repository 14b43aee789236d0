// What Python fills in: the operators once, and the rows of every step. puna.ops.cpu.decoder.program has the same.
#pragma once

#include <cstdint>

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

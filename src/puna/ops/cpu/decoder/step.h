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

// What an adapter adds to a linear layer: up(down x), and then a factor for each output.
struct Update {
    const float* down;     // of each 16 ranks one after the other: (inputs, 16); null where the adapter leaves the layer alone
    const float* up;       // of each 16 outputs one after the other: (their ranks, 16)
    const int64_t* spans;  // of each 16 outputs: the first of their ranks, the one behind the last, where in `up` they begin
    const float* factors;  // of each output; null where there are none
    int64_t ranks;         // a multiple of 16
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
    const Update* updates;  // one for each adapter; null without any
    int64_t ranks;          // of the largest update
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
    const int32_t* adapters;  // (rows): the number of each row's adapter, -1 for none; null where all rows have none
    int64_t adapter_count;

    int64_t adapter(int64_t m) const { return adapters ? adapters[m] : -1; }
};

// Weights, row by row as files have them, into the blocks of layout.h: one pass over them on all threads, which also
// quantizes.
#include <algorithm>
#include <cmath>

#include "layout.h"
#include "vectors.h"

enum Stored : int64_t { STORED_FLOAT32, STORED_BFLOAT16, STORED_FLOAT16, STORED_GROUPS };

// Some outputs of a matrix, (outputs, inputs), row by row without gaps.
struct Part {
    const void* data;        // of STORED_GROUPS int8
    const uint16_t* scales;  // (outputs, inputs / 32, rounded up) of STORED_GROUPS
    int64_t stored, outputs;
};

namespace {

// Where an output of a block comes from; no part for those that only fill it up.
struct Row {
    const Part* part;
    int64_t number;
};

float to_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// 32 numbers of a row, with zeros from `count` on.
void read_floats(const Row& row, int64_t inputs, int64_t from, int64_t count, float* out) {
    if (!row.part) count = 0;
    const int64_t at = row.number * inputs + from;
    std::fill(out + count, out + GROUP, 0.0f);
    if (!count) return;
    const uint16_t* halves = static_cast<const uint16_t*>(row.part->data) + at;
    switch (row.part->stored) {
        case STORED_FLOAT32: std::copy_n(static_cast<const float*>(row.part->data) + at, count, out); break;
        case STORED_BFLOAT16:
            for (int64_t k = 0; k < count; k++) out[k] = to_float(static_cast<uint32_t>(halves[k]) << 16);
            break;
        default:
            for (int64_t k = 0; k < count; k++) out[k] = _cvtsh_ss(halves[k]);
    }
}

// To the nearest number, and of two the even one; not a number stays that.
uint16_t bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if (std::isnan(x)) return 0x7fc0;
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// As puna.ops.quantized, which is the twin: 32 weights as integers and their scale, bit for bit the same.
struct Quantized {
    Floats values[2];
    uint16_t scale;
};

// A scale as float16; a subnormal one that would cut the largest weight becomes the next one away from zero.
uint16_t not_cut(float scale, float largest, float top) {
    uint16_t half = _cvtss_sh(scale, _MM_FROUND_TO_NEAREST_INT);
    const float back = std::abs(_cvtsh_ss(half));
    if (back < 0x1p-14f && back * top < largest) half++;
    return half;
}

Quantized rounded_to(const Floats (&x)[2], uint16_t scale, float low, float high) {
    const float step = _cvtsh_ss(scale);
    const Floats inverse = all(step == 0 ? 0.0f : 1.0f / step);
    Quantized found;
    found.scale = scale;
    for (int i = 0; i < 2; i++) found.values[i] = smaller(all(high), larger(all(low), nearest(x[i] * inverse)));
    return found;
}

// x has 32 finite weights.
Quantized quantized(const float* from, Kind kind) {
    const Floats x[2] = {load(from), load(from + W)};
    const float top = largest(larger(magnitude(x[0]), magnitude(x[1])));
    if (kind == INT8) return rounded_to(x, not_cut(top / 127.0f, top, 127.0f), -127.0f, 127.0f);
    const float end = *std::find_if(from, from + GROUP, [&](float w) { return std::abs(w) == top; });
    Quantized best{};
    float least = 0;
    bool first = true;
    for (const float divisor : {-8.0f, -8.7f, -8.35f, -7.6f, 7.0f, 7.35f}) {
        const Quantized found = rounded_to(x, not_cut(end / divisor, top, 7.0f), -8.0f, 7.0f);
        const Floats step = all(_cvtsh_ss(found.scale));
        const Floats a = found.values[0] * step - x[0], b = found.values[1] * step - x[1];
        const float error = sum(a * a + b * b);
        if (first || error < least) best = found, least = error;
        first = false;
    }
    return best;
}

// Writes one group of one output of a block.
void put_integers(const int8_t* values, uint16_t scale, Kind kind, int64_t lane, uint8_t* group) {
    for (int64_t k = 0; k < GROUP; k += 4) {
        if (kind == INT8) {
            uint8_t* to = group + (k / 4 * BLOCK + lane) * 4;
            for (int64_t i = 0; i < 4; i++) to[i] = static_cast<uint8_t>(values[k + i] + INT8_ZERO);
        } else {
            uint8_t* to = group + (k / 8 * BLOCK + lane) * 4;
            for (int64_t i = 0; i < 4; i++) {
                const uint8_t nibble = static_cast<uint8_t>(values[k + i] + 8);
                to[i] = static_cast<uint8_t>(k % 8 ? to[i] | nibble << 4 : nibble);
            }
        }
    }
    std::memcpy(group + group_bytes(kind) - BLOCK * 2 + lane * 2, &scale, 2);
}

// One group of one output, as integers; whether its weights and its scale are finite.
bool pack_integers(const Row& row, int64_t inputs, int64_t from, Kind kind, int64_t lane, uint8_t* group) {
    const int64_t count = std::min(GROUP, inputs - from);
    alignas(64) int8_t values[GROUP] = {};
    if (row.part && row.part->stored == STORED_GROUPS) {
        std::copy_n(static_cast<const int8_t*>(row.part->data) + row.number * inputs + from, count, values);
        const uint16_t scale = row.part->scales[row.number * ((inputs + GROUP - 1) / GROUP) + from / GROUP];
        put_integers(values, scale, kind, lane, group);
        return std::isfinite(_cvtsh_ss(scale));
    }
    alignas(64) float floats[GROUP];
    read_floats(row, inputs, from, count, floats);
    if (!std::all_of(floats, floats + GROUP, [](float x) { return std::isfinite(x); })) return false;
    const Quantized found = quantized(floats, kind);
    store_bytes(values, ints(found.values[0]));
    store_bytes(values + W, ints(found.values[1]));
    put_integers(values, found.scale, kind, lane, group);
    return std::isfinite(_cvtsh_ss(found.scale));
}

// 32 inputs of all outputs of a block, as floats.
void pack_floats(const Row* rows, int64_t inputs, int64_t from, Kind kind, uint8_t* group) {
    alignas(64) float tile[BLOCK][GROUP];
    const int64_t count = std::min(GROUP, inputs - from);
    for (int64_t lane = 0; lane < BLOCK; lane++) read_floats(rows[lane], inputs, from, count, tile[lane]);
    if (kind == FLOAT32) {
        float* to = reinterpret_cast<float*>(group);
        for (int64_t k = 0; k < GROUP; k++)
            for (int64_t lane = 0; lane < BLOCK; lane++) to[k * BLOCK + lane] = tile[lane][k];
        return;
    }
    uint16_t* to = reinterpret_cast<uint16_t*>(group);
    for (int64_t k = 0; k < GROUP; k++)
        for (int64_t lane = 0; lane < BLOCK; lane++)
            to[k * BLOCK + lane / 32 * 32 + lane % 16 * 2 + lane / 16 % 2] = bfloat16(tile[lane][k]);
}

// Output `lane` of a block: parts follow one another, or two of them share each block by halves.
Row row_of(const Part* parts, int64_t count, bool halves, int64_t block, int64_t lane) {
    if (halves) {
        const Part& part = parts[lane / (BLOCK / 2)];
        const int64_t number = block * (BLOCK / 2) + lane % (BLOCK / 2);
        return number < part.outputs ? Row{&part, number} : Row{nullptr, 0};
    }
    int64_t number = block * BLOCK + lane;
    for (const Part* part = parts; part < parts + count; part++) {
        if (number < part->outputs) return {part, number};
        number -= part->outputs;
    }
    return {nullptr, 0};
}

}  // namespace

// Writes all blocks of a matrix. Returns 0, or 1 where it is to be quantized and a weight or a scale is not finite.
extern "C" int64_t puna_decoder_pack(int64_t kind, const Part* parts, int64_t count, int64_t halves, int64_t blocks,
                                     int64_t inputs, int64_t threads, uint8_t* out) {
    const Kind to = static_cast<Kind>(kind);
    const int64_t groups = (inputs + GROUP - 1) / GROUP;
    int damaged = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(| : damaged)
    for (int64_t block = 0; block < blocks; block++) {
        Row rows[BLOCK];
        for (int64_t lane = 0; lane < BLOCK; lane++) rows[lane] = row_of(parts, count, halves, block, lane);
        for (int64_t g = 0; g < groups; g++) {
            uint8_t* group = out + (block * groups + g) * group_bytes(to);
            if (to == FLOAT32 || to == BFLOAT16) {
                pack_floats(rows, inputs, g * GROUP, to, group);
                continue;
            }
            for (int64_t lane = 0; lane < BLOCK; lane++)
                if (!pack_integers(rows[lane], inputs, g * GROUP, to, lane, group)) damaged = 1;
        }
    }
    return damaged;
}

// How weights lie in memory: blocks of 64 outputs side by side, inputs one after the other, so that a product reads
// memory from front to back, a lane of a vector is an output, and a number of the activations is a factor for all.
//
// K is the number of inputs, a multiple of 32: missing ones have weights of zero, and so have missing outputs.
//   FLOAT32   for every input: 64 floats
//   BFLOAT16  for every input: two vectors of 32 numbers; number i of a vector stands beside number i + 16
//   INT8      for every group of 32 inputs: 8 times 64 outputs x 4 inputs, then 64 scales in float16
//   INT4      for every group of 32 inputs: 4 times 64 outputs x 4 inputs in lower halves of bytes, and 4 in upper
//             ones, 8 added to each; then 64 scales in float16
#pragma once

#include <cstdint>

constexpr int64_t BLOCK = 64;  // outputs
constexpr int64_t GROUP = 32;  // inputs that share a scale

enum Kind : int64_t { FLOAT32, BFLOAT16, INT8, INT4 };

constexpr int64_t rounded(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Bytes of 32 inputs of a block.
constexpr int64_t group_bytes(Kind kind) {
    switch (kind) {
        case FLOAT32: return GROUP * BLOCK * 4;
        case BFLOAT16: return GROUP * BLOCK * 2;
        case INT8: return GROUP * BLOCK + BLOCK * 2;
        default: return GROUP * BLOCK / 2 + BLOCK * 2;
    }
}

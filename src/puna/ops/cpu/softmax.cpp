// The gradient of the cross-entropy with respect to logits, in the logits' own memory.
#include <algorithm>

#include "vectors.h"

namespace {

// One row: from logits to `scale` times their probabilities, where the scale is 1 + 2 z L; L is returned, the logarithm
// of the sum of exponentials.
float probabilities(float* row, int64_t columns, float z_loss) {
    Floats high = all(-INFINITY);
    int64_t n = 0;
    for (; n + W <= columns; n += W) high = largest(high, load(row + n));
    float highest = largest(high);
    for (; n < columns; n++) highest = std::max(highest, row[n]);
    Floats sums{};
    float total = 0;
    for (n = 0; n + W <= columns; n += W) {
        const Floats p = exponential(load(row + n) - highest);
        sums += p;
        store(row + n, p);
    }
    for (; n < columns; n++) total += row[n] = exponential(all(row[n] - highest))[0];
    total += sum(sums);
    const float log_sum = highest + std::log(total), factor = (1 + 2 * z_loss * log_sum) / total;
    for (n = 0; n + W <= columns; n += W) store(row + n, load(row + n) * factor);
    for (; n < columns; n++) row[n] *= factor;
    return log_sum;
}

}  // namespace

// logits (rows, columns) become the gradient of the losses' sum: p (1 + 2 z L) - onehot(target), or zeros where a row
// doesn't count. Written per row: L and the target's logit.
extern "C" void puna_softmax_gradient(int64_t rows, int64_t columns, int64_t threads, float* logits,
                                      const int64_t* targets, const bool* counted, float z_loss, float* log_sums,
                                      float* target_logits) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < rows; i++) {
        float* row = logits + i * columns;
        target_logits[i] = row[targets[i]];
        log_sums[i] = probabilities(row, columns, z_loss);
        row[targets[i]] -= 1;
        if (!counted[i]) std::fill_n(row, columns, 0.0f);
    }
}

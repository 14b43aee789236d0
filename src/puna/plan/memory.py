"""Where the memory of a device goes at the moments of a step that take most; no torch.

Every term is a tensor, or a set of like tensors, of the code that it names. Checked against measured peaks on a CPU by
bench/plan.py. Sharded weights are gathered one block ahead (FSDP2, torch.distributed.fsdp.fully_shard); in the forward
pass there may be those of a third block, which is done, but its memory is freed only in the stream of the messages.
"""

import math
from dataclasses import dataclass

from puna.plan.activations import Term, in_flight, kept, sizes, total
from puna.plan.layout import CPU, Share
from puna.plan.learning import layers_of

MUON_AT_ONCE = 8
"""Matrices that `puna.train.muon` holds whole at one time."""

PROCESS_BYTES = {False: 340 * 2**20, True: 420 * 2**20}
"""What a process on a CPU takes besides tensors, eager and compiled: Python, torch, its compiler and the scratch memory
of matrix products. Measured: bench/results/plan_cpu_2026-11-21.json."""

GAPS = {
    False: {"none": 0.13, "llama": 0.19, "every": 0.18, "full": 0.38},
    True: {"none": 0.09, "llama": 0.10, "every": 0.14, "full": 0.29},
}
"""Eager and compiled, by policy: what glibc's allocator holds on a CPU without using it, as a share of what is used.
Activations leave holes that longer-lived gradients fill, most of all where blocks are computed again. Not a formula:
the middle of the same record's measurements."""

UNADDED = "a bfloat16 gradient before it is added up in float32"
"""Label of one tensor: on a single device no second one exists at that time."""


@dataclass(frozen=True)
class Moment:
    """One moment of a step, and everything that takes memory then."""

    name: str
    terms: list[Term]

    @property
    def bytes(self) -> int:
        """Bytes of all terms."""
        return total(self.terms)


@dataclass(frozen=True)
class Memory:
    """Memory of one device over a step."""

    moments: list[Moment]
    staged_bytes: int
    """Bytes of the host for the copy of the state that is being written; on a CPU the copy is among the terms."""

    @property
    def peak(self) -> Moment:
        """The moment that takes most memory."""
        return max(self.moments, key=lambda moment: moment.bytes)


def plan_memory(share: Share) -> Memory:
    """The moments of an optimizer step on one device."""
    layers, output = share.recipe.model.n_layers, share.vocabulary * share.recipe.model.dim
    held, accumulates = _held(share), share.passes > 1
    gradients = Term("gradients", share.weight_bytes * share.learned_held)
    activations, working = kept(share)
    own = total(working)
    again = Term("one block computed again", max(0, own - total(activations) // layers))
    flight = Term("gradients of activations", in_flight(share))
    # Without sharding the embedding's gradient is the last to be made; with it the ends of the model share a message.
    ends = 0 if share.recipe.model.tie_embeddings else sum(share.learned_end_groups) if share.grouped else output
    late = 0 if accumulates else share.weight_bytes * ends * share.learning.embedding // share.weight_devices
    so_far = Term("gradients so far", gradients.bytes - late)
    first = gradients if accumulates else Term(
        "gradients so far",
        0 if share.grouped else share.weight_bytes * (output * share.learning.output + _learned_block(share)),
    )  # fmt: skip
    before = [gradients] if accumulates else []
    two = _gathered(share, 2)
    moments = {
        "forward pass": [
            *before, *activations, *_passing(share, total(activations) // layers), *_made(share), *_gathered(share, 3)
        ],
        "loss": [*before, *activations, *_last_norm(share), *_loss(share), *two],
        "backward pass, last block": [
            first, *activations, again, flight, *_made(share), *_unreduced_block(share), *two
        ],
        "backward pass, first block": [
            so_far, Term("one block's activations", own), flight, *_made(share), *_unreduced_block(share), *two
        ],
        "backward pass, embedding": [
            gradients, Term("gradient of the stream, twice", 2 * sizes(share).stream * share.learning.embedding),
            *_unreduced_ends(share), *two,
        ],
        "optimizer step": [gradients, *_optimizer_workspace(share), *two],
    }  # fmt: skip
    staged = share.recipe.checkpoint.asynchronous and share.kind != CPU
    return Memory(
        [Moment(name, _with_gaps(share, [*held, *terms])) for name, terms in moments.items()],
        share.state if staged else 0,
    )


def _with_gaps(share: Share, terms: list[Term]) -> list[Term]:
    if share.kind != CPU:
        return terms
    train = share.recipe.train
    part = GAPS[train.compile].get(train.recompute.partition("-")[0], GAPS[train.compile]["none"])
    return [*terms, Term("gaps of the C library's allocator, as measured", round(part * total(terms)))]


def _held(share: Share) -> list[Term]:
    """What stays in memory all the time."""
    train, c = share.recipe.train, share.matrix_bytes
    terms = [
        *_weights(share),
        Term(f"optimizer state ({share.recipe.optim.name})", share.optimizer_state),
    ]
    if share.kind == CPU:
        terms.insert(0, Term("Python, torch and scratch memory", PROCESS_BYTES[train.compile]))
        if share.recipe.checkpoint.asynchronous:
            terms.append(Term("copy of the state that is being written", share.state))
    if share.copied:
        terms.append(Term("bfloat16 copies of the weights for the passes", c * share.copied_elements))
    if share.recipe.finetune is not None and share.recipe.finetune.dropout and share.learning.embedding:
        terms.append(Term("which embeddings were dropped", share.tokens * share.recipe.model.dim // share.tensor))
    if share.grouped:
        terms.append(Term("embedding and output layer gathered for the passes", c * share.ends))
        if share.replicate > 1 and share.passes > 1:
            terms.append(Term("gradients that replicas have not added up yet", 4 * share.learned_held))
    return terms


def _weights(share: Share) -> list[Term]:
    """The weights, apart by what becomes of them where not all of them learn."""
    learned = share.weight_bytes * share.learned_held
    if share.learning.everything:
        return [Term("weights", learned)]
    packed = share.recipe.model.n_layers * share.packed_bytes
    return [
        Term("weights that learn", learned),
        Term("frozen weights", share.frozen_bytes),
        Term(f"frozen matrices in {share.learning.base}, with their scales", packed),
    ]


def _made(share: Share) -> list[Term]:
    """What is made of frozen matrices for a product, or for the norms of an updated weight's rows, one at a time."""
    largest, lora = max(layer.size for layer in layers_of(share.recipe.model)) // share.tensor, share.learning.lora
    each, narrow = 0, share.matrix_bytes == 2
    if share.packed_bytes:
        # Integers as float32, scales of each, their products; of 4 bits the bytes of pairs; the products rounded.
        each = 12 + (share.learning.base == "int4") + 2 * narrow
    if lora is not None and lora.dora:
        # The product of B and A, scaled, and their sum with the weight, which is float32 for it.
        each = max(each, 12 if share.packed_bytes or narrow else 8)
    return [Term("floats of a frozen matrix", each * largest)] if each else []


def _learned_block(share: Share) -> int:
    """Elements of a block that learn, on average over those that do."""
    return -(-share.learned_blocks // max(1, share.reached))


def _gathered(share: Share, ahead: int) -> list[Term]:
    """Gathered weights of `blocks` blocks, or of all blocks where weights are not sharded and stay."""
    if not share.grouped:
        return []
    layers = share.recipe.model.n_layers
    blocks = layers if share.alone else min(ahead, layers)
    what = "all" if share.alone else {1: "one", 2: "two", 3: "three"}[blocks]
    plural = "s" if share.alone or blocks > 1 else ""
    return [Term(f"weights of {what} block{plural} gathered for the passes", share.matrix_bytes * blocks * share.block)]


def _passing(share: Share, kept_of_one: int) -> list[Term]:
    """Memory of a block at its largest in the forward pass, beyond what it keeps."""
    s = sizes(share)
    widest = 3 * s.hidden + s.gathered + s.stream
    return [Term("tensors of a block that aren't kept", max(0, widest - kept_of_one))]


def _last_norm(share: Share) -> list[Term]:
    """What the model's last norm keeps, and the output layer's input."""
    s = sizes(share)
    kept_by_norm = s.stream if share.compiled_norm else s.stream32 + s.stream
    return [Term("last norm and its output", kept_by_norm + s.statistics + s.gathered)]


def _loss(share: Share) -> list[Term]:
    """The buffers of `puna.ops.cross_entropy`."""
    c, dim = share.matrix_bytes, share.recipe.model.dim
    weight, narrow = share.vocabulary * dim, c == 2
    if not share.fused_loss:
        # In bfloat16 a product writes, and then another one reads, a tensor of its own beside the float32 buffer.
        per_logit = 6 if narrow else 4
    elif share.recipe.train.compile:
        per_logit = 2 * c
    else:
        # The kernel's operators pass these tensors on, one after the other.
        per_logit = 19 if narrow else 17
    terms = [
        Term("logits of a chunk and their gradient", per_logit * share.loss_chunk * share.vocabulary),
        Term("gradient of the output layer", 4 * weight * share.learning.output),
        Term("gradient of what it reads", c * share.tokens * dim),
    ]
    if share.copied:
        terms.append(Term("the output layer in bfloat16 for its products", 2 * weight))
    if narrow and share.kind == CPU and share.learning.output:
        terms.append(Term("a chunk's part of the output layer's gradient", 2 * weight))
    tuning = share.recipe.finetune
    if tuning is None or tuning.preference is None or not share.fused_loss:
        return terms
    # Log-probabilities of answers come first: logits, as float32, less the largest of each row, and their exponentials.
    first = [
        Term("logits of a chunk and their exponentials", (14 if narrow else 12) * share.loss_chunk * share.vocabulary)
    ]
    if share.copied:
        first.append(Term("the output layer in bfloat16 for its products", 2 * weight))
    return max(terms, first, key=total)


def _unreduced_block(share: Share) -> list[Term]:
    """Gradients of a block in the dtype of the passes until they are added up in that of the sums.

    Sharding adds them up over the devices, block by block; a single device tensor by tensor.
    """
    c, learned = share.matrix_bytes, _learned_block(share)
    if share.copied:
        return [Term(UNADDED, c * share.largest_learned)]
    if not share.grouped:
        return []
    output = c * share.vocabulary * share.recipe.model.dim * share.learning.output
    return [
        Term("gradient of the output layer, not yet reduced", output),
        Term("gradients of a block, not yet reduced, and the message", (c + 4) * learned),
    ]


def _unreduced_ends(share: Share) -> list[Term]:
    """The same of embedding and output layer, at the end; or the embedding's before it is added to earlier passes'.

    Each has a message of its own, and one waits until the other is sent.
    """
    if share.grouped:
        name = "gradients of embedding and output layer, not yet reduced, and the message"
        learned = share.learned_end_groups
        return [Term(name, share.matrix_bytes * sum(learned) + 4 * max(learned, default=0))]
    embedding = share.matrix_bytes * share.vocabulary * share.recipe.model.dim * share.learning.embedding
    if share.copied:
        return [Term(UNADDED, embedding)]
    return [Term("the embedding's gradient before it is added up", embedding)] if share.passes > 1 else []


def _optimizer_workspace(share: Share) -> list[Term]:
    """Short-lived memory of an optimizer step; a step in one pass over the memory takes none."""
    config = share.recipe.model
    by_token = share.vocabulary * config.dim * (share.learning.embedding or share.learning.output)
    largest = max(share.largest_learned, by_token)
    if share.recipe.train.precision == "bf16-stochastic":
        if share.compiled_update:
            return []
        # Both moments, the weight and their results in float32, and random bits.
        return [Term("largest tensor's update in float32", 43 * largest // share.weight_devices)]
    if share.recipe.optim.name == "adafactor":
        return [Term("largest tensor's gradient, its squares and its update", 16 * largest // share.weight_devices)]
    if share.recipe.optim.name == "muon" and share.matrices_held:
        matrices = [shape for name, shape in share.learning.shapes.items() if "layers." in name and len(shape) == 2]
        whole, side = max(math.prod(shape) for shape in matrices), max(min(shape) for shape in matrices)
        gram = 2 * 3 * side * side
        return [
            Term("Muon: eight whole matrices, one made orthogonal", 2 * MUON_AT_ONCE * whole + 2 * 3 * whole + gram)
        ]
    return []

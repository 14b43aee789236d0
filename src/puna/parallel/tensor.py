"""Tensor parallelism with sequence parallelism: every matrix product is shared (Korthikanti et al. 2022).

Columns of wq, wk, wv, w1 and w3 and rows of wo and w2 are split over the devices, so that each computes its heads and
its part of the feed-forward width. Between them, where norms and residuals work on single tokens, the sequence is
split instead: a gather before and a reduce-scatter after each half of a block. The embedding and the output layer are
split over the vocabulary; the loss is computed on the parts (`puna.ops.cross_entropy`).
"""

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from puna.model.llama import Llama


def apply_tensor_parallel(model: Llama, mesh: DeviceMesh) -> None:
    """Split the model's matrices over the mesh, in place; its stream is then split over the sequence."""
    sequence = Shard(1)
    ends: dict[str, ParallelStyle] = {
        "tok_embeddings": RowwiseParallel(input_layouts=Replicate(), output_layouts=sequence),
        "norm": SequenceParallel(),
        "output": ColwiseParallel(input_layouts=Replicate()),
    }
    parallelize_module(model, mesh, ends)
    # The reduce-scatter may still be under way, and a compiled block loses the gradient of such a tensor: copy it
    # first.
    model.tok_embeddings.register_forward_hook(lambda module, inputs, output: output.clone())
    for block in model.layers:
        plan: dict[str, ParallelStyle] = {
            "attention_norm": SequenceParallel(),
            "attention": PrepareModuleInput(
                input_layouts=(sequence, None, None, None, None),
                desired_input_layouts=(Replicate(), None, None, None, None),
            ),
            "attention.wq": ColwiseParallel(),
            "attention.wk": ColwiseParallel(),
            "attention.wv": ColwiseParallel(),
            "attention.wo": RowwiseParallel(output_layouts=sequence),
            "ffn_norm": SequenceParallel(),
            "feed_forward": PrepareModuleInput(input_layouts=(sequence,), desired_input_layouts=(Replicate(),)),
            "feed_forward.w1": ColwiseParallel(),
            "feed_forward.w3": ColwiseParallel(),
            "feed_forward.w2": RowwiseParallel(output_layouts=sequence),
        }
        parallelize_module(block, mesh, plan)
    model.tie()

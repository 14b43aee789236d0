"""Weights of 8 bits on a GPU: torchao's weight-only quantization, one scale for each output of a matrix.

Activations and sums stay in the model's dtype. The embedding and the output layer of tied models stay as they are. On a
CPU Puna's own kernels do this, faster and exactly (puna.infer.kernel_runner).
"""

from torch import nn

from puna.core.console import libraries_muted
from puna.model.llama import Llama


def quantize_weights(model: Llama) -> None:
    """Replace the weights of every matrix of the blocks, and of an output layer of its own, by integers, in place.

    Raises:
        ModuleNotFoundError: torchao is not installed; the command line says how to get it.
    """
    with libraries_muted():
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

    tied = model.config.tie_embeddings

    def chosen(module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Linear) and not (tied and name == "output")

    quantize_(model, Int8WeightOnlyConfig(), filter_fn=chosen)

"""From opened weights to a runner: Puna's kernels where they can compute the model, PyTorch's operators elsewhere."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from puna.core.console import say
from puna.core.errors import GenerateError
from puna.infer.adapters import products_of
from puna.infer.graph_runner import GraphRunner
from puna.infer.kernel_runner import KernelRunner, default_cache, obstacle, output_kind
from puna.infer.operator_runner import OperatorRunner
from puna.infer.part import PartSource, add_up_outputs
from puna.infer.runner import PAGE_SIZE, Runner, position_bytes
from puna.infer.source import Source
from puna.infer.weight_only import quantize_weights
from puna.model.adapter import Adapter
from puna.model.llama import Llama
from puna.ops.cpu.builder import BuildError
from puna.ops.quantized import WeightKind, dequantize, quantize

CACHES = {"float32": torch.float32, "float16": torch.float16}
"""The dtypes of keys and values, by their names in `--cache`."""
CACHE_BYTES = 1 << 31
"""Keys and values in float16 of 64 conversations of 256 tokens with a model of 7 billion parameters in 8 groups of
heads; in float32, of 14 full contexts of the 134M model. Memory is taken when it is written for the first time."""
_MOST_CONTEXTS = 64
"""As many as requests run at once (`puna.infer.engine.MAX_REQUESTS`)."""


def check_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        GenerateError: This machine has none.
    """
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without it
        raise GenerateError(f"device {name!r}: {str(error).splitlines()[0]}") from None
    if device.type == "meta":
        raise GenerateError(f"device {name!r}: holds no numbers, so nothing can be computed there")
    return device


def make_runner(
    source: Source,
    decoder: Callable[[], Llama],
    *,
    device: torch.device,
    weights: WeightKind | None = None,
    cache: torch.dtype | None = None,
    pages: int | None = None,
    adapters: Mapping[str, Adapter] | None = None,
) -> Runner:
    """The fastest runner that computes this model on this device; why it is not the kernels, a sentence says.

    Args:
        source: The weights.
        decoder: Gives the model in PyTorch's modules, as `decoder` below makes it; called where the kernels can't.
        device: Where it runs.
        weights: How matrices are kept; None is as they are stored.
        cache: Of keys and values; None takes float32 with weights in float32, else float16.
        pages: Of the cache, `PAGE_SIZE` positions each; None is those of `cache_positions`.
        adapters: Those that requests may choose, by their names.

    Raises:
        GenerateError: A matrix cannot be quantized, or an adapter does not fit the model.
    """

    def pages_for(dtype: torch.dtype) -> int:
        return cache_positions(source, dtype.itemsize) // PAGE_SIZE if pages is None else pages

    def kept_as(source: Source, name: str) -> Tensor:
        tensor = source.tensor(name)
        return tensor if weights is None or not weights.is_quantized else _rounded(source, name, tensor, weights)

    products = {
        name: products_of(adapter, source, name=name, kept=kept_as) for name, adapter in (adapters or {}).items()
    }  # fmt: skip
    why = obstacle(source.config) if device.type == "cpu" else f"the kernels are for CPUs, not for {device}"
    if why is None:
        try:
            kept = cache or default_cache(source, weights)
            return KernelRunner(source, weights, kept, pages=pages_for(kept), page_size=PAGE_SIZE, adapters=products)
        except BuildError as error:
            why = str(error)
    if device.type == "cpu":
        floats = " and integers are kept as floats" if weights is not None and weights.is_quantized else ""
        say(
            f"PyTorch's operators answer, slower than Puna's kernels{floats}, and a request's text may depend on those "
            f"beside it: {why}"
        )
    if cache is not None:
        say("the cache has the dtype of the model here: only Puna's kernels have a choice")
    model = decoder()
    pages = pages_for(model.tok_embeddings.weight.dtype)  # that of keys and values, too
    if device.type == "cuda":
        return GraphRunner(model, pages=pages, page_size=PAGE_SIZE, adapters=products)
    return OperatorRunner(model, pages=pages, page_size=PAGE_SIZE, adapters=products)


def cache_positions(source: Source, bytes_each: int) -> int:
    """How many positions the cache has room for: at least the model's context, else what `CACHE_BYTES` hold.

    Args:
        source: The model.
        bytes_each: Of a number in the cache.
    """
    config = source.config
    position = position_bytes(config, bytes_each)
    whole = -(-config.context // PAGE_SIZE) * PAGE_SIZE
    return max(whole, min(_MOST_CONTEXTS * whole, CACHE_BYTES // position // PAGE_SIZE * PAGE_SIZE))


def decoder(source: Source, *, device: torch.device, weights: WeightKind | None = None) -> Llama:
    """The model in PyTorch's modules. On a CPU, weights that have their dtype already stay in the mapped file.

    Args:
        source: The weights, read one after the other. Those of a part add up what the processes' parts give.
        device: Where they go.
        weights: None keeps bfloat16 where it holds all of them, and makes float32 of the rest. With INT8 or INT4 on a
            CPU, matrices are what the integers stand for, in float32; an embedding that is only looked up stays. With
            INT8 on a GPU they are torchao's, and everything else is bfloat16.

    Raises:
        GenerateError: A matrix cannot be quantized, or it is INT4 on a GPU.
    """
    on_gpu = device.type != "cpu"
    if on_gpu and weights == WeightKind.INT4:
        raise GenerateError(f"weights is 'int4', which {device} does not have", hint="it has int8 and bfloat16")
    with torch.device("meta"):
        model = Llama(source.config)
    names = [name for name, _ in model.named_parameters()]
    dtype = (
        torch.bfloat16
        if (weights in (WeightKind.BFLOAT16, WeightKind.INT8) if on_gpu else weights == WeightKind.BFLOAT16)
        or (weights is None and _fits(source, names))
        else torch.float32
    )
    state = {}
    for name in names:
        tensor = source.tensor(name)
        looked_up = name == "tok_embeddings.weight" and not source.config.tie_embeddings
        if weights is not None and weights.is_quantized and not on_gpu and tensor.ndim == 2 and not looked_up:
            tensor = _rounded(source, name, tensor, weights)
        state[name] = tensor.to(device, dtype)
    if source.config.tie_embeddings:
        state["output.weight"] = state["tok_embeddings.weight"]
    model.load_state_dict(state, assign=True)
    model.tie()
    if on_gpu and weights == WeightKind.INT8:
        quantize_weights(model)
    if isinstance(source, PartSource):
        add_up_outputs(model, source)
    return model.eval()


def _rounded(source: Source, name: str, tensor: Tensor, kind: WeightKind) -> Tensor:
    blocks = source.blocks(name)
    if kind == WeightKind.INT4 and name in ("output.weight", "tok_embeddings.weight"):
        kind = output_kind(tensor if blocks is None else blocks)
    if blocks is not None and kind in (blocks.kind, WeightKind.INT8):  # values of 4 bits are values of 8 bits, too
        return tensor
    return dequantize(quantize(tensor, kind, name=name))


def _fits(source: Source, names: list[str]) -> bool:
    """Whether bfloat16 holds every weight: matrices are stored so, and gains lose nothing."""
    matrix = next(name for name in names if name.endswith("wq.weight"))
    if source.blocks(matrix) is not None or source.tensor(matrix).dtype != torch.bfloat16:
        return False
    others = (tensor for tensor in map(source.tensor, names) if tensor.dtype != torch.bfloat16)
    return all(torch.equal(tensor.to(torch.bfloat16).to(tensor.dtype), tensor) for tensor in others)

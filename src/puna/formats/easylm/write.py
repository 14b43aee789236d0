"""EasyLM's checkpoints, written byte for byte as EasyLM and flax write them.

Arrays come in the order of their sorted paths, as in every file that a training run of EasyLM saves: JAX sorts the
names of a tree. So the output layer is first, layer 10 stands before layer 2, and the embedding is last.
"""

import math
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.core.files import write_json, write_text
from puna.formats.checkpoint import Checkpoint
from puna.formats.containers.flax_msgpack import ITEM_BYTES, MAX_MESSAGE_BYTES, Key
from puna.formats.containers.flax_pack import Parts, Stretch, array_parts, stream_parts, tree_parts
from puna.formats.easylm.config import EASYLM_THETA, LLAMA_CONFIG, llama_config
from puna.formats.easylm.forms import FILES, PREFIXES, Form
from puna.formats.express import check_expressible
from puna.formats.rotary import to_neighbours
from puna.formats.table import by_name
from puna.model.safetensors import tensor_bytes
from puna.plan.count import parameters
from puna.tokenizer.huggingface import tokenizer_config, write_tokenizer_json
from puna.tokenizer.tokenizer import Tokenizer

_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_EMBEDDING, _HEAD = "transformer/wte/embedding", "lm_head/kernel"


@dataclass(frozen=True)
class _Leaf:
    """One array of the file."""

    name: str
    """Our name of the parameter."""
    shape: tuple[int, ...]
    """Shape in the file: kernels are [in, out]."""
    turned: bool
    rotary_heads: int
    dtype: str


def write_easylm(source: Checkpoint, tokenizer: Tokenizer | None, directory: Path, *, form: Form = "params") -> None:
    """Write an EasyLM checkpoint, its settings as `llama_config.json`, its tokenizer, and how to load them.

    A training state has weights only, since Puna's optimizer is not EasyLM's: it loads as `trainstate_params::`.

    Args:
        source: The weights; their dtypes are kept.
        tokenizer: Its tokenizer, if there is one.
        directory: An empty directory.
        form: One of EasyLM's three forms.

    Raises:
        ExportError: EasyLM's code cannot compute this model, or a message would be longer than msgpack allows.
        FormatError: The source is damaged.
        TokenizerError: Hugging Face's library, which EasyLM's commands use, has no such tokenizer.
        OSError: The disk is full.
    """
    config = source.config
    check_expressible(config, "EasyLM", {"n_kv_heads", "tie_embeddings"})
    if config.rope_theta != EASYLM_THETA:
        raise ExportError(
            f"the model has rope_theta = {config.rope_theta}, which EasyLM cannot express: its attention turns by "
            f"{EASYLM_THETA} whatever its settings say"
        )
    leaves = _leaves(source)
    _write(directory / FILES[form], source, leaves, _parts(leaves, form))
    write_json(directory / LLAMA_CONFIG, llama_config(config))
    if tokenizer is not None:
        (directory / tokenizer.file).write_bytes(tokenizer.content)
        write_tokenizer_json(tokenizer, directory / "tokenizer.json")
        write_json(directory / "tokenizer_config.json", tokenizer_config(tokenizer, config.context))
    write_text(directory / "README.md", _card(config, {leaf.dtype for leaf in leaves.values()}, tokenizer, form))


def _leaves(source: Checkpoint) -> dict[Key, _Leaf]:
    """All arrays by their paths, in JAX's sorted order."""
    places = by_name(source.config, "easylm")
    if source.config.tie_embeddings:
        places[_HEAD] = places[_EMBEDDING]
    leaves = {}
    for path, weight in places.items():
        turned = weight.is_matrix and path != _EMBEDDING
        leaves[tuple(path.split("/"))] = _Leaf(
            weight.name, weight.shape[::-1] if turned else weight.shape, turned, weight.rotary_heads,
            str(source.like(weight.name).dtype).removeprefix("torch."),
        )  # fmt: skip
    return dict(sorted(leaves.items()))


def _parts(leaves: dict[Key, _Leaf], form: Form) -> Iterator[tuple[Key, bytes | Stretch]]:
    """The parts of the whole file, each with the path of its array."""
    arrays: dict[Key, Parts] = {key: array_parts(leaf.shape, leaf.dtype) for key, leaf in leaves.items()}
    if form == "flax_params":
        return tree_parts(arrays)
    prefix = ("params", "params") if form == "train_state" else ()
    messages = {}
    for key, leaf in leaves.items():
        try:
            messages[key] = stream_parts(prefix + key, arrays[key], leaf.dtype)
        except OverflowError as error:
            raise ExportError(
                f"{'/'.join(key)} takes {error} bytes, but no message of EasyLM's streams has more than "
                f"{MAX_MESSAGE_BYTES}",
                hint="export in bfloat16, or as flax_params, where arrays are cut",
            ) from None
    return ((key, part) for key, parts in messages.items() for part in parts)


def _write(
    path: Path, source: Checkpoint, leaves: dict[Key, _Leaf], parts: Iterator[tuple[Key, bytes | Stretch]]
) -> None:
    reached: Key = ()
    content = memoryview(b"")
    with path.open("wb") as file, closing(_contents(source, list(leaves.values()))) as contents:
        for key, part in parts:
            if isinstance(part, bytes):
                file.write(part)
                continue
            if key != reached:
                reached, content = key, next(contents)
            width = ITEM_BYTES[leaves[key].dtype]
            file.write(content[part[0] * width : part[1] * width])


def _contents(source: Checkpoint, leaves: list[_Leaf]) -> Generator[memoryview, None, None]:
    """The bytes of each array; the next one is transposed while the last is written, so two are in memory at most."""
    largest = max(math.prod(leaf.shape) * ITEM_BYTES[leaf.dtype] for leaf in leaves if leaf.turned)
    buffers = [torch.empty(largest, dtype=torch.uint8) for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(_content, source, leaves[0], buffers[0])
        for index, leaf in enumerate(leaves[1:], start=1):
            following = pool.submit(_content, source, leaf, buffers[index % 2])
            yield ready.result()
            ready = following
        yield ready.result()


def _content(source: Checkpoint, leaf: _Leaf, buffer: Tensor) -> memoryview:
    """An array's bytes as in the file, in the buffer if it had to be transposed."""
    w = source.tensor(leaf.name)
    if leaf.rotary_heads:
        w = to_neighbours(w, leaf.rotary_heads)
    if not leaf.turned:
        return tensor_bytes(w)
    into = buffer[: w.nbytes]
    into.view(w.dtype).view(leaf.shape).copy_(w.t())
    return into.numpy().data


def _card(config: ModelConfig, dtypes: set[str], tokenizer: Tokenizer | None, form: Form) -> str:
    """README.md: what this is, and the command that runs it in EasyLM."""
    settings = {
        name: value for name, value in llama_config(config).items() if name not in ("rope_theta", "tied_embeddings")
    }
    widest = _SHORT["float32" if "float32" in dtypes or len(dtypes) > 1 else dtypes.copy().pop()]
    lines = [
        "python -m EasyLM.models.llama.llama_serve",
        f"--load_checkpoint='{PREFIXES[form]}::{FILES[form]}'",
        *(["--tokenizer='.'", f"--add_bos_token={tokenizer.add_bos}"] if tokenizer else ["--tokenizer='TOKENIZER'"]),
        f"--param_dtype={widest} --dtype={widest}",
        f"--input_length={config.context // 2} --seq_length={config.context}",
        *(f"--llama.{name}={value}" for name, value in settings.items()),
    ]
    facts = [
        f"`{FILES[form]}` holds the weights ({', '.join(sorted(dtypes))}); EasyLM's name for its form is "
        f"`{PREFIXES[form]}::`.",
        f"EasyLM reads its settings from the command line; `{LLAMA_CONFIG}` keeps them for other programs.",
    ]
    if form == "train_state":
        facts.append("It has no optimizer state and no step, so `trainstate::` cannot load it.")
    if config.tie_embeddings:
        facts.append(
            "The output layer is the embedding's transpose and is stored again, because EasyLM has no tied layers; "
            "training there would let the two part."
        )
    command = " \\\n    ".join(lines)
    return f"""# A LLaMA model for EasyLM

{parameters(config).total:,} parameters: {config.n_layers} layers, width {config.dim}, {config.n_heads} heads of \
{config.head_dim}, {config.n_kv_heads} key and value heads, context {config.context}, {config.vocab_size:,} tokens. \
Exported by Puna.

{chr(10).join("- " + fact for fact in facts)}

In this directory:

```sh
{command}
```
"""

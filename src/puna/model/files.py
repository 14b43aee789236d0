"""The plain model on the disk, for inference, evaluation, fine-tuning and exports.

```
model/
  model.safetensors   weights by Meta's names; no output.weight where embeddings are tied
  model.toml          format = "puna-model", version = 1, [model] as in a recipe
  tokenizer.model     SentencePiece; or tokenizer.json, byte BPE; or neither
  chat_template.jinja where the model was tuned to conversations
  record.json         how it came to be, and the SHA-256 of the other files
```
The weights may also be in several files, with `model.safetensors.index.json` as the index of tensors.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tomli_w
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError
from puna.core.files import atomic_directory, sha256_file
from puna.core.records import Record
from puna.model.description import model_header, read_config
from puna.model.directory import CONFIG, RECORD, WEIGHTS, check_files
from puna.model.llama import Llama
from puna.model.parts import is_update, own_parts, whole
from puna.model.safetensors import write_safetensors
from puna.model.weights import open_weights
from puna.tokenizer.chat_template import CHAT_TEMPLATE, read_chat_template
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_TIED = "output.weight"
NOT_ARITHMETIC = {"context", "init", "init_std"}
"""Fields of a configuration that do not change what a decoder computes."""
_POSITIONS = {"rope_theta", "rope_scaling"}
"""Fields that may change when a model learns a longer context."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model directory in memory."""

    model: Llama
    """Ready to run; its configuration is `model.config`."""
    tokenizer: Tokenizer | None
    chat_template: str | None
    """The Jinja template that writes a conversation as text, if the directory has one."""
    directory: Path
    record: dict[str, Any]
    """The content of record.json, which says how the model came to be."""

    def require_tokenizer(self) -> Tokenizer:
        """The tokenizer, for callers that cannot work without one.

        Raises:
            CheckpointError: The model has none.
        """
        if self.tokenizer is None:
            raise CheckpointError(
                f"{self.directory}: has no tokenizer, so the model takes no text",
                hint="import it again and name its tokenizer: `puna import PATH --tokenizer PATH`",
            )
        return self.tokenizer


def save_model(
    model: Llama,
    directory: Path,
    *,
    tokenizer: Tokenizer | None,
    inputs: dict[str, str],
    chat_template: str | None = None,
) -> dict[str, str]:
    """Write the model, its configuration and its tokenizer; an older model is replaced when all is complete.

    Args:
        model: The weights, on any device; those that devices share are asked for once each, in their order.
        directory: Where to.
        tokenizer: Its native file is written beside the weights.
        inputs: Hashes of what the model was made from, for its record.
        chat_template: Written beside the tokenizer.

    Returns:
        SHA-256 of every file by name.

    Raises:
        StorageError: The disk is full or not writable.
    """
    parameters = dict(model.named_parameters())
    record = Record("model", config=model.config.model_dump(exclude_none=True), inputs=inputs)
    with atomic_directory(directory, replace=True) as temporary:
        write_model(
            temporary, model.config, parameters, lambda name: whole(parameters[name]), tokenizer=tokenizer,
            chat_template=chat_template, record=record,
        )  # fmt: skip
    return record.outputs


def write_model(
    directory: Path,
    config: ModelConfig,
    likes: Mapping[str, Tensor],
    content_of: Callable[[str], Tensor],
    *,
    tokenizer: Tokenizer | None,
    chat_template: str | None,
    record: Record,
) -> None:
    """Write every file of a model directory, one tensor in memory at a time, and its record last.

    Args:
        directory: An empty directory.
        config: The decoder.
        likes: By name, tensors of the weights' dtypes and shapes, on any device, `meta` too.
        content_of: Gives the weight of a name; called once for each, in their order.
        tokenizer: Its native file is written beside the weights.
        chat_template: Written beside the tokenizer, as it is.
        record: The account of how the model came to be; the hashes of its files become its outputs.

    Raises:
        OSError: The disk is full or not writable.
    """
    digest = hashlib.sha256()
    write_safetensors(directory / WEIGHTS, likes, content_of, digest)
    (directory / CONFIG).write_text(tomli_w.dumps(model_header(config)), encoding="utf-8")
    if tokenizer is not None:
        (directory / tokenizer.file).write_bytes(tokenizer.content)
    if chat_template is not None:
        (directory / CHAT_TEMPLATE).write_text(chat_template, encoding="utf-8", newline="")
    others = {path.name: sha256_file(path) for path in directory.iterdir() if path.name != WEIGHTS}
    record.outputs = dict(sorted((others | {WEIGHTS: digest.hexdigest()}).items()))
    record.write(directory / RECORD)


def load_model(directory: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """The model with everything in its directory, after every file has been checked against its hash.

    Raises:
        CheckpointError: A file is missing or damaged, the format is another, or the tensors or the tokenizer don't fit
            the configuration.
    """
    record = check_files(directory)
    config = read_config(directory)
    tokenizer = _read_tokenizer(directory, config)
    with torch.device("meta"):
        model = Llama(config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    with open_weights(directory, device) as stored:
        stored.check(shapes)
        weights = {name: stored.tensor(name) for name in shapes}
    model.load_state_dict(
        weights | ({_TIED: weights["tok_embeddings.weight"]} if config.tie_embeddings else {}), assign=True
    )
    model.tie()
    return LoadedModel(
        model=model.eval(), tokenizer=tokenizer, chat_template=read_chat_template(directory), directory=directory,
        record=record,
    )  # fmt: skip


class Rectangles(Protocol):
    """Weights of which a part can be read."""

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The part of a weight from `offset` on, of `shape` along each axis."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Whole weights in memory, by their names."""

    weights: Mapping[str, Tensor]

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The part of a weight from `offset` on, of `shape` along each axis."""
        region = tuple(slice(first, first + size) for first, size in zip(offset, shape, strict=True))
        return self.weights[name][region]


@torch.no_grad()
def fill(model: Llama, stored: Rectangles) -> None:
    """Fill an existing model, in any layout: each process reads its own part of each weight, one after the other.

    Updates that learn beside frozen weights are left as they are.

    Args:
        model: On its device; parameters may be sharded (DTensor), wrapped for recomputation, or compiled.
        stored: Weights of the model's names and shapes.
    """
    for part in own_parts(model):
        if part.tensor.numel() and not is_update(part.name):
            part.tensor.copy_(stored.rectangle(part.name, part.offset, part.tensor.shape))


def check_decoder(file: Path, found: ModelConfig, wanted: ModelConfig) -> list[str]:
    """Refuse the weights of another decoder.

    Args:
        file: Where `found` stands.
        found: What the weights are of.
        wanted: The decoder that is to have them.

    Returns:
        What only rotary positions count otherwise, `name = there, not here` each.

    Raises:
        CheckpointError: Naming every setting that weights depend on and that differs.
    """
    theirs, ours = found.model_dump(), wanted.model_dump()
    other = [name for name in ours if theirs[name] != ours[name] and name not in NOT_ARITHMETIC]
    if refused := [name for name in other if name not in _POSITIONS]:
        differences = ", ".join(f"{name} = {theirs[name]!r}, not {ours[name]!r}" for name in refused)
        raise CheckpointError(
            f"{file}: is of another decoder than the recipe's: it has {differences}",
            hint=f"give the recipe the [model] of {file}",
        )
    return [f"{name} = {theirs[name]!r}, not {ours[name]!r}" for name in other]


def _read_tokenizer(directory: Path, config: ModelConfig) -> Tokenizer | None:
    """The tokenizer, if every id has a row in the model; a padded vocabulary may have rows without an id."""
    file = find_tokenizer(directory)
    if file is None:
        return None
    tokenizer = load_tokenizer(file)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{file}: has {tokenizer.vocab_size} tokens, but {CONFIG} has vocab_size = {config.vocab_size}"
        )
    return tokenizer

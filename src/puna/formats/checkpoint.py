"""What every reader returns and every writer takes: a model with its description, its weights not yet read."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.containers.dtypes import FLOATS
from puna.formats.table import Weight, weights
from puna.ops.quantized import Blocks
from puna.tokenizer.tokenizer import Tokenizer

_MOST_LAYERS = 10_000
"""More than any model has; with a damaged number of layers, a list of tensors' names would fill the memory."""


_OTHERS = {
    r"(^|\.)(qweight|qzeros|scales|g_idx)$": "those of a model that GPTQ or AWQ quantized",
    r"\.(nested_)?(absmax|quant_map)$|\.quant_state\.|\.SCB$": "those of a model that bitsandbytes quantized",
    r"(weight|input|activation)_scale(_inv)?$|\.scale_weight$": "those of a model quantized to 8 bits or fewer",
    r"lora_|(^|\.)adapter": "those of an adapter, which is to be merged into its model first",
    r"\.bias$": "biases, which LLaMA does not have",
    r"(q|k)_norm|(q|k)_layernorm": "norms of queries and keys, which LLaMA does not have",
    r"experts?\.|block_sparse_moe": "those of a mixture of experts",
    r"vision|image|audio|projector": "those of a model of more than text",
}
"""Names of tensors beyond LLaMA's, and what they are of."""


@dataclass(frozen=True)
class Stored:
    """How a parameter is stored in its file."""

    dtype: str
    """float32, float16, bfloat16, or a type of GGUF such as Q4_0."""
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class Hints:
    """Values from the user that a format does not state, or None. Hints that contradict the files are refused."""

    n_heads: int | None = None
    n_kv_heads: int | None = None
    context: int | None = None
    norm_eps: float | None = None
    rope_theta: float | None = None
    tokenizer: Path | None = None
    """A tokenizer's file or directory, instead of the one in the model's directory."""
    no_tokenizer: bool = False
    """Whether the weights come in alone, whatever tokenizer lies with them."""

    @classmethod
    def of(cls, config: ModelConfig) -> "Hints":
        """The decoder's values that some formats do not state."""
        return cls(
            n_heads=config.n_heads, n_kv_heads=config.n_kv_heads, context=config.context, norm_eps=config.norm_eps,
            rope_theta=config.rope_theta,
        )  # fmt: skip

    def refuse_other_values(self, path: Path, config: ModelConfig) -> None:
        """Refuse hints that differ from the files.

        Raises:
            FormatError: A hint differs.
        """
        for name in ("n_heads", "n_kv_heads", "context", "norm_eps", "rope_theta"):
            hint, said = getattr(self, name), getattr(config, name)
            if hint is not None and hint != said:
                raise FormatError(f"{path}: has {name} = {said}, but {hint} was given")


class Checkpoint(ABC):
    """A model in some format, opened.

    Opening reads headers and configurations; `tensor` reads one parameter. Nothing may change the files meanwhile.

    Args:
        path: What the user named.
        config: The decoder.
        stored: Every parameter that the files hold, by our name.
        extra: Names of tensors in the files that the decoder does not have.
        notes: One sentence for each value that was assumed because no file states it, and for what was ignored.
    """

    format: ClassVar[str]
    """The format's name in `puna export --to`."""

    def __init__(
        self,
        path: Path,
        config: ModelConfig,
        stored: Mapping[str, Stored],
        *,
        extra: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.config = config
        self.weights: dict[str, Weight] = {weight.name: weight for weight in weights(config)}
        self.stored = stored
        self.extra = list(extra)
        self.notes = list(notes)
        self.step: int | None = None
        """The optimizer steps that its run had done, where it is a checkpoint of a run."""
        self.chat_template: str | None = None
        """The model's Jinja template, which writes a conversation as text."""
        self.base: str | None = None
        """The model that its other weights are in, where the files hold only what learns; as the run names it."""
        self.stop_ids: tuple[int, ...] = ()
        """The tokens at which the model's own files end a text, where they say so beside the tokenizer."""

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """One parameter by our name, in our layout: [out, in], wq and wk in halves; quantized ones as float32.

        It may be a view of a mapped file: do not change it.

        Raises:
            FormatError: The file is damaged.
        """

    def blocks(self, name: str) -> Blocks | None:
        """One parameter as the file has it, where it is quantized in groups of 32; None otherwise.

        Rows are in the same order as those of `tensor`, which gives what the blocks stand for, to the last bit.

        Raises:
            FormatError: The file is damaged.
        """
        return None

    @abstractmethod
    def tokenizer(self) -> Tokenizer | None:
        """The model's own tokenizer, if there is one.

        Raises:
            TokenizerError: There is one that Puna cannot use.
        """

    def verify(self) -> None:  # noqa: B027 - there is nothing that must be overridden
        """Compare the files with the hashes that the format itself keeps of them; most keep none.

        Raises:
            FormatError: One is damaged.
        """

    def like(self, name: str) -> Tensor:
        """A tensor on the device `meta` of the shape and dtype that `tensor` gives."""
        dtype = FLOATS.get(self.stored[name].dtype, torch.float32)
        return torch.empty(self.weights[name].shape, dtype=dtype, device="meta")

    @property
    def weights_sha256(self) -> str | None:
        """The hash by which a run that begins with these weights names them, where one is written down with them.

        None where the files would have to be read for it.
        """
        return None

    @property
    def files(self) -> list[Path]:
        """The files that it was read from: `path`, or the files in that directory."""
        return [self.path] if self.path.is_file() else sorted(file for file in self.path.iterdir() if file.is_file())

    @property
    def missing(self) -> list[str]:
        """Parameters of the decoder that the files lack."""
        return [name for name in self.weights if name not in self.stored]

    def check_complete(self) -> None:
        """Refuse a model with parameters too few or too many.

        Raises:
            FormatError: There are.
        """
        kind = next((said for said in map(_kind, self.extra) if said), "")
        if missing := self.missing:
            instead = f"; it has others, {kind}" if kind else ""
            raise FormatError(f"{self.path}: lacks {_number(missing)}, the first is {missing[0]}{instead}")
        if self.extra:
            raise FormatError(
                f"{self.path}: has {_number(self.extra)} that a LLaMA decoder has no place for, the first is "
                f"{self.extra[0]}{kind and ': ' + kind}"
            )


class DelegatingCheckpoint(Checkpoint):
    """A checkpoint that is another one in all that a subclass doesn't say otherwise.

    Args:
        source: The other one.
    """

    def __init__(self, source: Checkpoint) -> None:
        # Not the base's: what it would set is the source's, as it is when it is asked for.
        self.source = source

    def __getattr__(self, name: str) -> Any:
        """An attribute of the source, if this object has no such attribute."""
        if name == "source":  # while a copy is made it has none yet
            raise AttributeError(name)
        return getattr(self.source, name)

    def tensor(self, name: str) -> Tensor:
        """One parameter of the source."""
        return self.source.tensor(name)

    def blocks(self, name: str) -> Blocks | None:
        """One quantized parameter of the source."""
        return self.source.blocks(name)

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the source."""
        return self.source.tokenizer()

    def verify(self) -> None:
        """Verify the files of the source."""
        self.source.verify()

    @property
    def files(self) -> list[Path]:
        """The files of the source."""
        return self.source.files


def model_config(path: Path, values: dict[str, Any]) -> ModelConfig:
    """The decoder of these values.

    Raises:
        FormatError: They do not make a decoder; the error names `path`.
    """
    if isinstance(layers := values.get("n_layers"), int) and layers > _MOST_LAYERS:
        raise FormatError(f"{path}: says {layers} layers, more than the {_MOST_LAYERS} that Puna accepts")
    for name in ("n_kv_heads", "ffn_dim"):
        if values.get(name, 1) == 0:  # where a recipe leaves it open; a file that says so has no such decoder
            raise FormatError(f"{path}: {name}: Input should be greater than 0, found 0")
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        found = f", found {first['input']!r:.80}" if where else ""
        raise FormatError(
            f"{path}: {where and where + ': '}{first['msg'].removeprefix('Value error, ')}{found}"
        ) from None


def check_shape(path: Path, name: str, found: Sequence[int], expected: Sequence[int]) -> None:
    """Refuse a tensor that is not as large as the configuration says.

    Raises:
        FormatError: It is not; `name` is the file's name for it.
    """
    if tuple(found) != tuple(expected):
        raise FormatError(f"{path}: {name} is {list(found)}, but the configuration makes it {list(expected)}")


def check_dtype(path: Path, name: str, dtype: str) -> None:
    """Refuse a tensor with a dtype that weights do not have.

    Raises:
        FormatError: It is.
    """
    if dtype not in FLOATS:
        raise FormatError(f"{path}: {name} is {dtype}, expected one of {', '.join(FLOATS)}")


def _number(names: Sequence[str]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) != 1)}"


def _kind(name: str) -> str:
    """What a tensor that LLaMA does not have is of; empty where it is not known."""
    return next((said for pattern, said in _OTHERS.items() if re.search(pattern, name)), "")

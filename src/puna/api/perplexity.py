"""How well a model predicts texts: perplexity, nats per token, bits per byte."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from puna.core.console import progress
from puna.core.errors import GenerateError

if TYPE_CHECKING:
    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike


@dataclass(frozen=True, kw_only=True)
class TextLoss:
    """How well a model predicts a text."""

    tokens: int
    """Tokens of the text; the beginning-of-sequence token is read and not scored."""
    bytes: int
    """Bytes of the text in UTF-8."""
    nats: float
    """Minus the natural logarithm of the text's probability."""
    ids: tuple[int, ...] = ()
    """The tokens, where they were asked for."""
    logprobs: tuple[float, ...] = ()
    """Their log-probabilities, each given what the window has before it; where they were asked for."""

    @property
    def nats_per_token(self) -> float:
        """The mean loss of a token, NaN of a text without any; only models with one tokenizer can be compared by it."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        """The exponential of the nats per token."""
        return math.exp(self.nats_per_token) if self.nats_per_token < _LARGEST else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Bits that the text takes per byte, which does not depend on the tokenizer."""
        return self.nats / math.log(2) / self.bytes if self.bytes else math.nan

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON has them; None where there is no number."""
        figures = {name: getattr(self, name) for name in ("nats_per_token", "perplexity", "bits_per_byte")}
        numbers = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        return {"tokens": self.tokens, "bytes": self.bytes, "nats": self.nats} | numbers


@dataclass(frozen=True, kw_only=True)
class Perplexity(TextLoss):
    """How well a model predicts texts, all together and each; `print` shows it as `puna perplexity` does."""

    model: str
    """The path or name of the model."""
    window: int
    """Tokens that the model reads at a time."""
    stride: int
    """Tokens from the beginning of a window to that of the next one."""
    texts: list[TextLoss] = field(default_factory=list)
    """The figures of each text, in order."""

    def __str__(self) -> str:
        many = "1 text" if len(self.texts) == 1 else f"{len(self.texts):,} texts"
        rows = (
            ("perplexity", f"{self.perplexity:.4f}"),
            ("nats per token", f"{self.nats_per_token:.4f}"),
            ("bits per byte", f"{self.bits_per_byte:.4f}"),
            ("text", f"{self.tokens:,} tokens, {self.bytes:,} bytes in {many}"),
            ("windows", f"{self.window:,} tokens, one every {self.stride:,}"),
        )
        return "\n".join(f"{name:<16}{value}" for name, value in rows)

    def as_dict(self) -> dict[str, Any]:
        """All of it but the texts, as JSON has it."""
        return {"model": self.model, "window": self.window, "stride": self.stride} | super().as_dict()


_Piece: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...]]
"""The place of a text, and a window over it: context and scored tokens."""
_TOGETHER = 4096
"""Tokens of windows that are computed together: 16 steps of the engine (`puna.infer.engine.MAX_ROWS`)."""
_LARGEST = math.log(1e308)
"""Nats whose exponential a number still holds."""


def perplexity(
    model: "LanguageModel | PathLike",
    texts: str | Sequence[str],
    *,
    window: int | None = None,
    stride: int | None = None,
    tokens: bool = False,
    **options: Any,
) -> Perplexity:
    """How well a model predicts texts that it has not written.

    Every text begins with the beginning-of-sequence token. One that is longer than the window is read in windows
    that slide over it: each scores the tokens that none before it has scored, and has the tokens before them in it as
    their context. Windows after the first do not begin with a beginning-of-sequence token.

    Args:
        model: A model, or what `load` takes: a run, a path, a name on the hub.
        texts: A text, or several.
        window: Tokens that the model reads at a time; None is its context.
        stride: Tokens from the beginning of a window to that of the next one. None is half the window, as in Hugging
            Face's guide; the window's own length reads each token once, which is the fastest, and gives the first
            tokens of each window little to go by.
        tokens: Whether to keep each token and its log-probability.
        options: Of `load`, where `model` is a path: `weights`, `device`, `threads`, `tokenizer` and the others.

    Raises:
        GenerateError: There is no text, or a number is out of its range.
        FormatError: As `load`.
        CheckpointError: As `load`; or the model has no tokenizer.
        TokenizerError: As `load`.
    """
    from puna.api.language_model import LanguageModel
    from puna.api.loading import load

    given = [texts] if isinstance(texts, str) else list(texts)
    loaded = model if isinstance(model, LanguageModel) else load(model, **options)
    longest = loaded.engine.longest
    size = longest if window is None else _in_range("window", window, longest, "the model's context")
    step = max(1, size // 2) if stride is None else _in_range("stride", stride, size, "the window")
    losses = _losses(loaded, given, size, step, tokens)
    if not any(loss.tokens for loss in losses):
        raise GenerateError("there is no text to score")
    return Perplexity(
        tokens=sum(loss.tokens for loss in losses), bytes=sum(loss.bytes for loss in losses),
        nats=math.fsum(loss.nats for loss in losses), model=str(loaded.path if loaded is model else model),
        window=size, stride=step, texts=losses,
    )  # fmt: skip


def _losses(model: "LanguageModel", texts: list[str], size: int, stride: int, keep: bool) -> list[TextLoss]:
    """The figures of each text; windows of several are computed together."""
    from puna.infer.windows import windows

    ids = [model.scored_ids(text) for text in texts]
    pieces = ((place, *pair) for place, of_text in enumerate(ids) for pair in windows(of_text, size, stride))
    nats: list[list[float]] = [[] for _ in texts]
    logprobs: list[list[float]] = [[] for _ in texts]
    with progress("score", sum(map(len, ids)) - len(ids), "tokens") as advance:
        for group in _groups(pieces):
            pairs = ((context, scored) for _, context, scored in group)
            scores = model.engine.score(pairs, adapter=model.adapter)
            for (place, _, _), score in zip(group, scores, strict=True):
                nats[place].append(-score.total)
                if keep:
                    logprobs[place] += score.logprobs
            advance(sum(len(scored) for _, _, scored in group))
    return [
        TextLoss(
            tokens=len(of_text) - 1, bytes=len(text.encode()), nats=math.fsum(sums),
            ids=tuple(of_text[1:]) if keep else (), logprobs=tuple(kept),
        )
        for text, of_text, sums, kept in zip(texts, ids, nats, logprobs, strict=True)
    ]  # fmt: skip


def _groups(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Windows that are computed together: enough to fill steps of the engine, few enough to show how it goes."""
    group: list[_Piece] = []
    tokens = 0
    for piece in pieces:
        group.append(piece)
        tokens += len(piece[1]) + len(piece[2])
        if tokens >= _TOGETHER:
            yield group
            group, tokens = [], 0
    if group:
        yield group


def _in_range(name: str, value: int, most: int, what: str) -> int:
    if not 1 <= value <= most:
        raise GenerateError(f"{name} is {value}, but must be from 1 to {most}, {what}")
    return value

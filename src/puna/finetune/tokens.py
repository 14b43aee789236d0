"""Writes the examples of a run down as tokens, once; a writer that was killed goes on behind its last whole part.

Examples are read in order by this process, rendered and encoded in batches by others, and written in order again. So
the files do not depend on how many processes there are, and memory holds a few batches at a time.
"""

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from puna.config.recipe import Recipe
from puna.core.console import progress, say, warn
from puna.core.errors import DataError
from puna.core.files import discard, sha256_bytes, write_json
from puna.core.terminate import orderly_end
from puna.core.units import counted
from puna.core.workers import worker_pool
from puna.finetune.examples import SourceExample
from puna.finetune.part_writer import Encoded, PartWriter, encode
from puna.finetune.rendering import Rendering
from puna.finetune.token_files import FORMAT, MANIFEST, SETTINGS, VERSION, Manifest, Part, read_manifest
from puna.finetune.truncation import REASONS, Limits
from puna.shards.split import HELDOUT, TRAIN
from puna.tokenizer.tokenizer import Tokenizer

PART = 16_384
"""Examples that are read for a part: no more are written again after a kill."""
_BATCH = 128
"""Examples that a process renders at one time."""
_FEW = 2_000
"""Examples that this process renders by itself, because others take longer to start."""


class _Work(NamedTuple):
    """A batch of examples of one part."""

    part: str
    split: str
    source: str
    examples: tuple[SourceExample, ...]


def prepare(
    recipe: Recipe,
    template: str,
    tokenizer: Tokenizer,
    examples: Callable[[str], Iterable[SourceExample]],
    out: Path,
    *,
    data: str,
    workers: int | None = None,
    total: int | None = None,
) -> Manifest:
    """Write the examples of both splits, where they are not there yet.

    Args:
        recipe: What decides how they are written: `finetune` and `model.context`.
        template: The source of the chat template.
        tokenizer: The model's.
        examples: The examples of a split, source by source, the same ones each time.
        out: The run's directory of examples; what it holds of other settings is deleted.
        data: A hash of all examples.
        workers: Processes that render; None is one for each core.
        total: How many examples there are, for the display; None where nobody knows.

    Raises:
        DataError: There are no examples, none can be learned from, or one is not of the recipe's kind.
        StorageError: The disk is full or not writable.
    """
    rendering, settings = _settled(recipe, template, tokenizer, data)
    if (out / MANIFEST).is_file() and (manifest := read_manifest(out)).settings == settings:
        return manifest
    _begin(out, settings)
    with progress("write examples", total, "examples") as advance, orderly_end():
        _write(rendering, _batches(examples, out, advance), out, workers or os.cpu_count() or 1, advance)
    parts = [Part(**json.loads(path.read_bytes())) for path in sorted(out.glob("*-*.json"))]
    manifest = Manifest(2 if rendering.pairs else 1, settings, parts)
    _check(manifest)
    fields = {"format": FORMAT, "version": VERSION, "width": manifest.width, "settings": settings}
    write_json(out / MANIFEST, fields | {"parts": [asdict(part) for part in parts]})
    return manifest


def is_written(recipe: Recipe, template: str, tokenizer: Tokenizer, out: Path, *, data: str) -> bool:
    """Whether `prepare` would find all examples there; arguments as it takes them."""
    return (out / MANIFEST).is_file() and read_manifest(out).settings == _settled(recipe, template, tokenizer, data)[1]


def _settled(recipe: Recipe, template: str, tokenizer: Tokenizer, data: str) -> tuple[Rendering, dict[str, Any]]:
    """How examples are written, and all that decides what they become."""
    tuning = recipe.finetune
    assert tuning is not None  # noqa: S101 - the caller's recipe is of this kind
    rendering = Rendering(template, tokenizer, Limits.of(recipe), tuning.learn, tuning.preference is not None)
    return rendering, {
        "data": data, "template": sha256_bytes(template.encode()), "tokenizer": tokenizer.sha256,
        "learn": tuning.learn, "pairs": rendering.pairs, "part": PART, **asdict(rendering.limits),
    }  # fmt: skip


def describe(manifest: Manifest) -> list[str]:
    """What became of the examples, a sentence each: how many there are, were cut, and were dropped, and why."""
    lines = []
    for split in (TRAIN, HELDOUT):
        parts = [part for part in manifest.parts if part.split == split]
        kept, tokens, targets = (
            sum(getattr(part, field) for part in parts) for field in ("examples", "tokens", "targets")
        )
        if kept:
            lines.append(
                f"{split}: {counted(kept, 'example')}, {tokens:,} tokens, of which {targets:,} are learned "
                f"({targets / tokens:.0%})"
            )
        elif split == HELDOUT:
            lines.append(f"{split}: no example, so nothing measures what the model does on others")
    cut: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for part in manifest.parts:
        cut.update(part.cut)
        dropped.update(part.dropped)
    if cut:
        learned = f", of which {cut['targets']:,} would have been learned" if cut["targets"] else ""
        lines.append(f"{counted(cut['examples'], 'example')} cut from the left by {cut['tokens']:,} tokens{learned}")
    lines += [f"{counted(count, 'example')} dropped: {REASONS[reason]}" for reason, count in sorted(dropped.items())]
    return lines


def announce(manifest: Manifest) -> None:
    """Say what became of the examples; warn of the first one that the template does not take."""
    for line in describe(manifest):
        say(line)
    if refused := next((part.refused for part in manifest.parts if part.refused), ""):
        warn(f"the first example that the chat template does not take is {refused}")


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Keep the parts of a writer that was killed, and nothing else."""
    path = out / SETTINGS
    same = False
    if path.is_file():
        with suppress(ValueError):
            same = json.loads(path.read_bytes()) == settings
    if not same:
        discard(out)
    if not path.is_file():
        write_json(path, settings)


def _check(manifest: Manifest) -> None:
    train = [part for part in manifest.parts if part.split == TRAIN]
    if any(part.examples for part in train):
        return
    read = sum(part.read for part in train)
    if not read:
        raise DataError("there are no examples to train on", hint="`puna data inspect` shows what was dropped, and why")
    dropped = Counter[str]()
    for part in train:
        dropped.update(part.dropped)
    reasons = "; ".join(f"{count}: {REASONS[reason]}" for reason, count in sorted(dropped.items()))
    refused = next((f" (first {part.refused})" for part in train if part.refused), "")
    raise DataError(f"none of the {read} examples can be learned from: {reasons}{refused}")


def _batches(
    examples: Callable[[str], Iterable[SourceExample]], out: Path, advance: Callable[[float], None]
) -> Iterator[_Work]:
    """What is to be rendered, in order, without the parts that are there."""
    for split in (TRAIN, HELDOUT):
        number = 0
        for source, of_source in groupby(examples(split), key=lambda one: one.source):
            at = 0
            while batch := tuple(islice(of_source, _BATCH)):
                if at == PART:
                    number, at = number + 1, 0
                name = f"{split}-{number:05d}"
                at += len(batch)
                if (out / f"{name}.json").is_file():
                    advance(len(batch))
                else:
                    yield _Work(name, split, source, batch)
            number += 1


def _write(
    rendering: Rendering, work: Iterator[_Work], out: Path, workers: int, advance: Callable[[float], None]
) -> None:
    """Render all batches and write them, part by part."""
    width = 2 if rendering.pairs else 1
    with _rendered(rendering, work, workers) as results:
        for name, of_part in groupby(results, key=lambda result: result[0].part):
            first = next(of_part)
            batch = first[0]
            with PartWriter(out, name, split=batch.split, source=batch.source, width=width) as writer:
                for _, encoded in chain([first], of_part):
                    writer.add(encoded)
                    advance(encoded.read)


@contextmanager
def _rendered(rendering: Rendering, work: Iterator[_Work], workers: int) -> Iterator[Iterator[tuple[_Work, Encoded]]]:
    """The batches in order, each with what became of it; rendered by other processes where there are many."""
    few = list(islice(work, _FEW // _BATCH))
    if workers == 1 or len(few) < _FEW // _BATCH:
        yield ((batch, _encode(rendering, batch)) for batch in chain(few, work))
        return
    killed = "a process that wrote examples down was killed, most likely because memory ran out"
    hint = "run the same command again: what is done is kept"
    with worker_pool(workers, _begin_worker, rendering, killed=killed, hint=hint) as pool:
        yield _in_order(pool, chain(few, work), 4 * workers)


def _in_order(pool: ProcessPoolExecutor, work: Iterator[_Work], ahead: int) -> Iterator[tuple[_Work, Encoded]]:
    waiting: deque[tuple[_Work, Future[Encoded]]] = deque()
    for batch in work:
        waiting.append((batch, pool.submit(_encode_here, batch)))
        if len(waiting) == ahead:
            batch, future = waiting.popleft()
            yield batch, future.result()
    while waiting:
        batch, future = waiting.popleft()
        yield batch, future.result()


def _encode(rendering: Rendering, batch: _Work) -> Encoded:
    outcomes = rendering.write_each([one.example for one in batch.examples])
    return encode([(one.id, one.example.task, outcome) for one, outcome in zip(batch.examples, outcomes, strict=True)])


_rendering: Rendering | None = None
"""In a process that renders: how. Sent once."""


def _begin_worker(rendering: Rendering) -> None:
    global _rendering
    _rendering = rendering


def _encode_here(batch: _Work) -> Encoded:
    assert _rendering is not None  # noqa: S101 - set when the process began
    return _encode(_rendering, batch)

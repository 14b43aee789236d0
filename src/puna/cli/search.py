"""`puna data index`, `puna data find` and `puna trace`: which documents have a text."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import puna
from puna.cli.arguments import DataSource
from puna.cli.json_output import json_line
from puna.core.console import say
from puna.core.errors import DataError, escaped
from puna.core.files import read_text
from puna.core.units import format_bytes, format_count

if TYPE_CHECKING:
    from puna.search.found import Place
    from puna.search.trace import Traced

_Build = Annotated[str, typer.Argument(metavar="BUILD", help="A data build such as data/demo, or s3://BUCKET/PATH.")]
_Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The text to look for.", show_default=False)]
_File = Annotated[
    Path | None,
    typer.Option(
        "--file", help="A file whose whole text is meant, but for a line break at its end.", show_default=False
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def index(
    build: _Build,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Shards at one time.  \\[default: all cores that memory allows]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the index of a data build in which `puna data find` and `puna trace` look; what is whole is kept.

    It takes 4 bytes per token on the disk, and 14 per token of a shard (18 with more than 65,536 tokens in the
    vocabulary) in the memory of each process.
    """
    built = puna.index_data(build, workers=workers)
    each = built.bytes / built.tokens if built.tokens else 0
    say(
        f"{built.parts} shards have an index, {built.made} of them made now: {format_count(built.tokens)} tokens, "
        f"{format_bytes(built.bytes)}, {each:.2f} bytes per token"
    )


def find(
    build: _Build,
    text: _Text = None,
    file: _File = None,
    ids: Annotated[
        str | None,
        typer.Option("--ids", help="Ids of tokens, with commas; found as these tokens only.", show_default=False),
    ] = None,
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", help="Upper and lower case are the same, by Unicode's full case folding.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Occurrences that are shown; all are counted.")] = 10,
    as_json: _Json = False,
) -> None:
    """Print how often and where a data build has a text, exactly, however it is cut into tokens there."""
    wanted = _text_of(text, file, ids)
    what = puna.find(build, wanted, fold=ignore_case, most=limit)
    if as_json:
        print(json_line({"text": wanted if isinstance(wanted, str) else None, **asdict(what)}))
        return
    for line in _counted(what.counts) or ["not found"]:
        print(line)
    for place in what.places:
        print()
        _print_place(place, None)


def trace(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory such as runs/demo.")],
    text: _Text = None,
    file: _File = None,
    data: DataSource = None,
    spans: Annotated[int, typer.Option("--spans", min=1, help="Spans that are shown, the least likely first.")] = 10,
    documents: Annotated[int, typer.Option("--documents", min=0, help="Occurrences of each that are shown.")] = 3,
    words: Annotated[int, typer.Option("--words", min=1, help="Words that a span has at least.")] = 3,
    as_json: _Json = False,
) -> None:
    """Print the spans of a text that a run has learned from verbatim, with their documents and the steps.

    The documents of a build are looked for in its index, which `puna data index` makes.
    """
    wanted = _text_of(text, file, None)
    assert isinstance(wanted, str)  # noqa: S101 - ids were not asked for
    traced = puna.trace(run, wanted, data=data, spans=spans, documents=documents, words=words)
    if as_json:
        print(json_line(traced.json()))
        return
    _print_traced(traced, words)


def _text_of(text: str | None, file: Path | None, ids: str | None) -> str | list[int]:
    """What a user looks for.

    Raises:
        DataError: It is named twice or not at all, or a number is not one.
    """
    given = [value for value in (text, file, ids) if value is not None]
    if len(given) != 1:
        raise DataError(
            "there is no text to look for" if not given else "the text to look for is named more than once",
            hint="give TEXT or --file" + (", or --ids" if ids is not None else ""),
        )
    if file is not None:
        content = read_text(file, DataError, newline="")
        return content.removesuffix("\n").removesuffix("\r")
    if ids is not None:
        try:
            return [int(one) for one in ids.replace(",", " ").split()]
        except ValueError:
            raise DataError(f"--ids {ids}: expects whole numbers with commas, such as 12,415,7") from None
    assert text is not None  # noqa: S101 - one of the three is given
    return text


def _counted(counts: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"{count} in {source}{'' if split == 'train' else ', held out'}"
        for split, by_source in counts.items()
        for source, count in by_source.items()
    ]


def _print_place(place: "Place", steps: list[int] | None, since: int = 0) -> None:
    about = [f"{place.source}{'' if place.split == 'train' else ' (held out)'}: {place.id}", place.origin]
    about += [value for value in (place.url, place.licence, place.date) if value]
    about.append(f"byte {place.offset}")
    if steps is not None and place.split == "train":
        about.append(_when(steps, since))
    print(escaped("  " + "; ".join(" ".join(value.split()) for value in about)))
    shown = f"{place.before}[{place.text}]{place.after}"
    print(escaped("    …" + " ".join(shown.split()) + "…"))


def _when(steps: list[int], since: int) -> str:
    if not steps:
        return f"not read after step {since}, up to which another run made this one" if since else "not read"
    shown = ", ".join(map(str, steps[:5])) + (", …" if len(steps) > 5 else "")
    return f"read {len(steps)} times, at steps {shown}" if len(steps) > 1 else f"read at step {shown}"


def _print_traced(traced: "Traced", words: int) -> None:
    if not traced.spans:
        print(f"no span of {words} words or more is in the training data")
        return
    for span in traced.spans:
        print(escaped(f"'{' '.join(span.text.split())}'"))
        print(f"  {span.words} words, {span.bits:.0f} bits; {', '.join(_counted(span.counts))}")
        for source in span.sources:
            _print_place(source.place, source.steps, traced.since)
        print()
    if traced.all_spans > len(traced.spans):
        print(f"{traced.all_spans - len(traced.spans)} more spans; --spans shows more")

"""`puna data train-lm`, `train-classifier` and `references`: the models for CCNet's and LLaMA's rules."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from puna.core.console import progress, say
from puna.core.errors import DataError
from puna.core.files import write_text
from puna.formats.destination import check_destination

Texts = Annotated[
    list[Path], typer.Argument(help="JSON lines with a field `text`, compressed or not, such as documents/*/train/*.")
]
Out = Annotated[Path, typer.Option("--out", help="The directory to make.")]


def train_lm(
    texts: Texts,
    reference: Annotated[
        list[Path], typer.Option("--reference", help="Other documents, which the cut-offs divide into thirds.")
    ],
    out: Out,
    language: Annotated[str, typer.Option("--language", help="The code of the language.")] = "en",
    pieces: Annotated[int, typer.Option("--pieces", help="SentencePiece's vocabulary (CCNet: 65,536).")] = 65536,
    score: Annotated[
        str, typer.Option("--score", help="What the cut-offs are of: lines, or page as in CCNet's released code.")
    ] = "lines",
    lmplz: Annotated[str, typer.Option("--lmplz", help="KenLM's trainer; launch/build-kenlm.sh builds it.")] = "lmplz",
    force: Annotated[bool, typer.Option("--force", help="Replace the model that is there.")] = False,
) -> None:
    """Train the language model of the rule `perplexity`: SentencePiece and a 5-gram; prints its cut-offs."""
    from puna.data.models.lm import HEAD_PERCENTILE, LINES, MIDDLE_PERCENTILE, PAGE, train_language_model
    from puna.data.models.texts import read_texts

    if score not in (LINES, PAGE):
        raise DataError(f"--score {score}: is not valid, expected {LINES} or {PAGE}")
    check_destination(out, texts[0], "record.json", force=force)
    build_binary = str(Path(lmplz).with_name("build_binary")) if "/" in lmplz else "build_binary"
    with progress("train the language model", None, "documents") as advance:
        figures = train_language_model(
            _counted(read_texts(texts), advance), out, language=language,
            reference=_counted(read_texts(reference), advance), pieces=pieces, score=score, lmplz=lmplz,
            build_binary=build_binary,
        )  # fmt: skip
    print("third\tperplexity below\tof the reference")
    print(f"head\t{figures['head']:.1f}\t{HEAD_PERCENTILE}%")
    print(f"middle\t{figures['middle']:.1f}\t{MIDDLE_PERCENTILE}%")
    sizes = f"{figures['lines']:,} lines, {figures['tokens']:,} tokens"
    say(f"{out}: made of {sizes}; cut-offs of {figures['reference_documents']:,} documents")


def train_classifier(
    positive: Annotated[
        list[Path], typer.Option("--positive", help="Pages that Wikipedia refers to, as JSON lines with `text`.")
    ],
    negative: Annotated[list[Path], typer.Option("--negative", help="Random pages.")],
    out: Out,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the initial weights and the held-out tenth.")] = 0,
    min_count: Annotated[
        int, typer.Option("--min-count", min=1, help="Fewest times that a word occurs; 5 for millions of pages.")
    ] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the model that is there.")] = False,
) -> None:
    """Train the classifier of the rule `wikipedia-like`; prints its precision and recall on held-out pages."""
    from puna.data.models.classifier import train_classifier as train
    from puna.data.models.texts import read_texts

    check_destination(out, positive[0], "record.json", force=force)
    with progress("train the classifier", None, "documents") as advance:
        figures = train(
            _counted(read_texts(positive), advance), _counted(read_texts(negative), advance), out, seed=seed,
            min_count=min_count,
        )  # fmt: skip
    print("threshold\tprecision\trecall")
    for threshold, measured in figures["thresholds"].items():
        print(f"{threshold}\t{measured['precision']:.4f}\t{measured['recall']:.4f}")


def references(
    dumps: Annotated[list[Path], typer.Argument(help="Wikipedia's XML dumps.")],
    out: Annotated[Path | None, typer.Option("--out", help="A file for the addresses, instead of stdout.")] = None,
) -> None:
    """Print the addresses that Wikipedia's articles refer to, each once: the pages to fetch for `train-classifier`."""
    from puna.data.models.wikipedia_references import wikipedia_references

    addresses = wikipedia_references(dumps)
    if out is None:
        for address in addresses:
            print(address)
    else:
        write_text(out, "".join(itertools.chain.from_iterable((address, "\n") for address in addresses)))


def _counted(texts: Iterable[str], advance: Callable[[float], None]) -> Iterator[str]:
    """The texts; `advance` is told of each."""
    for text in texts:
        yield text
        advance(1)

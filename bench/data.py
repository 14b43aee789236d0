"""A whole build by the rules of the `llama` profile, from WARC files on: CPU time of every stage on one core.

The input is pages as `bench/extract.py` makes them of real text, with one word in eight exchanged so that lines
differ as they do on the web. All rules of the profile look at every page: thresholds are set so that none is dropped by
language, perplexity or likeness, which makes this the cost of a crawl in which nothing could be left out early. The
models are trained here, on the same text: their size, not their judgement, decides the time. Tokenization is compared
with SentencePiece's own rate on the same texts.

    python bench/data.py --lmplz ~/kenlm/lmplz

The record goes to bench/results/.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from extract import PAGE, make_input, paragraphs, real_page

from puna.config.recipe import Recipe
from puna.core.files import write_json
from puna.core.layout import DataDir
from puna.core.records import commit, cores, machine
from puna.data.documents import documents_of
from puna.data.models.classifier import train_classifier
from puna.data.models.lm import train_language_model
from puna.data.stages.build import train_tokenizer
from puna.data.stages.plan import build_documents, plan_documents, tokenize_tasks
from puna.data.tasks.executors import run_stage
from puna.tokenizer.load import load_tokenizer

DUMP_BYTES = 80e12
"""A dump of CommonCrawl as WARC files, compressed, as they are counted."""
CORES = 1000
EXCHANGED = 8


def varied(texts: list[str], seed: int) -> list[str]:
    """The paragraphs with one word in eight exchanged for another one of the text."""
    draw = random.Random(seed)
    words = [word for text in texts for word in text.split()]
    return [
        " ".join(draw.choice(words) if draw.randrange(EXCHANGED) == 0 else word for word in text.split())
        for text in texts
    ]


def recipe(root: Path, models: Path) -> Recipe:
    """The profile's rules for CommonCrawl, on WARC files, with thresholds that let everything through."""
    return Recipe.model_validate(
        {
            "name": "bench",
            "data": {
                "sources": {
                    "common_crawl": {
                        "path": str(root), "include": ["*.warc.gz"], "format": "warc",
                        "clean": ["lines", "language", "perplexity", "wikipedia-like"], "heldout_fraction": 0.01,
                    }
                },
                "rules": {
                    "lines": {"min_chars": 100},
                    "language": {"keep": [], "threshold": 0.0},
                    "perplexity": {"model": str(models / "lm"), "keep": ["head", "middle", "tail"]},
                    "wikipedia_like": {"model": str(models / "classifier"), "threshold": 0.0},
                },
                "dedup": {"exact": "within"},
            },
            "mixture": {"common_crawl": 1},
            "model": {"vocab_size": 8000},
            "tokenizer": {"train_bytes": 8_000_000},
        }
    )  # fmt: skip


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lmplz", required=True)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        record = measure(root, arguments)
    command = f"python bench/data.py --lmplz LMPLZ --megabytes {arguments.megabytes} --rounds {arguments.rounds}"
    head = {"benchmark": "data", "command": command, "commit": commit(), "date": datetime.now(UTC).isoformat()}
    target = Path(__file__).parent / "results" / f"data_{datetime.now(UTC).date()}.json"
    write_json(target, head | {"machine": machine()} | record)
    print(json.dumps(record, indent=2))


def measure(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of all rounds."""
    texts = paragraphs()
    pages, models = root / "pages", root / "models"
    pages.mkdir()
    size = 0
    for part in range(8):
        path = pages / f"{part}.warc.gz"
        varied_texts = varied(texts, part)
        size += make_input(path, arguments.megabytes * 1_000_000 // 8, real_page(arguments.page), varied_texts)[0]
    compressed = sum(path.stat().st_size for path in pages.iterdir())
    train_language_model(texts[::2], models / "lm", language="en", reference=texts[1::20], lmplz=arguments.lmplz)
    train_classifier(texts[::2], varied(texts[1::2], 99), models / "classifier")
    made = recipe(pages, models)
    _warm_up(root, made, texts, arguments.page)
    rounds = [build(made, DataDir(root / f"build{number}")) for number in range(arguments.rounds)]
    out = DataDir(root / "build0")
    build_documents(made, out)
    stages = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    total = sum(stages.values())
    text_bytes = sum(len(document.text.encode()) for document in documents_of(out, "common_crawl", "train"))
    return {
        "input": {"warc_bytes": size, "compressed_bytes": compressed, "text_bytes": text_bytes},
        "cpu_seconds": stages,
        "rounds_cpu_seconds": [sum(one.values()) for one in rounds],
        "warc_mb_per_second": size / total / 1e6,
        "compressed_mb_per_second": compressed / total / 1e6,
        "text_mb_per_second": text_bytes / total / 1e6,
        "dump": {
            "compressed_bytes": DUMP_BYTES,
            "cores": CORES,
            "core_hours": DUMP_BYTES / (compressed / total) / 3600,
            "hours": DUMP_BYTES / (compressed / total) / 3600 / CORES,
        },
        "tokenize": tokenization(made, out, arguments.rounds),
    }


def build(made: Recipe, out: DataDir) -> dict[str, float]:
    """CPU seconds of each stage of the documents, in this process."""
    seconds: dict[str, float] = {}
    for tasks in plan_documents(made, out).stages:
        started = time.process_time()
        run_stage(tasks, "local", 1)
        seconds[tasks[0].stage] = seconds.get(tasks[0].stage, 0.0) + time.process_time() - started
    return seconds


def tokenization(made: Recipe, out: DataDir, rounds: int) -> dict[str, Any]:
    """MB of text per second on all cores, and by SentencePiece alone on one."""
    train_tokenizer(made, out, force=False)
    tokenizer = load_tokenizer(out.tokenizer)
    texts = [document.text for split in ("train", "heldout") for document in documents_of(out, "common_crawl", split)]
    size = sum(len(text.encode()) for text in texts)
    ours, alone = [], []
    for _ in range(rounds):
        tasks = tokenize_tasks(made, out, cores())
        for task in tasks:
            (task.directory / "task.json").unlink(missing_ok=True)
        started = time.perf_counter()
        run_stage([*tasks], "local", cores())
        ours.append(time.perf_counter() - started)
        sample = texts[: max(1, len(texts) // 4)]
        started = time.perf_counter()
        tokenizer._processor.encode(sample, num_threads=1)
        alone.append((time.perf_counter() - started) * size / sum(len(text.encode()) for text in sample))
    stage, one = size / statistics.median(ours) / 1e6, size / statistics.median(alone) / 1e6
    return {
        "text_bytes": size, "cores": cores(), "mb_per_second": stage, "sentencepiece_mb_per_second_on_one_core": one,
        "ratio_to_sentencepiece_times_cores": stage / (one * cores()), "seconds": ours,
    }  # fmt: skip


def _warm_up(root: Path, made: Recipe, texts: list[str], page: Path) -> None:
    """Compile what numba compiles, and load the models, before anything is measured."""
    pages = root / "warm"
    pages.mkdir()
    make_input(pages / "0.warc.gz", 3_000_000, real_page(page), texts)
    table = made.model_dump()
    table["data"]["sources"]["common_crawl"]["path"] = str(pages)
    build(Recipe.model_validate(table), DataDir(root / "warmed"))


if __name__ == "__main__":
    main()

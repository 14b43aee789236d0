"""Evaluation beside lm-evaluation-harness: the same documents and weights, both from rows to figures, in turns.

    python bench/evaluate.py smol=SmolLM2-135M-Instruct.Q4_1.gguf demo=runs/demo

Each model is imported, exported to Hugging Face's format and read by both in float32; lm-eval 0.4.13 asks it by its
`hf` model, which needs the package accelerate. Both take the same rows of the same local data, and each has warmed up.
lm-eval is given several batch sizes and its best counts; of MMLU it is asked a part of the documents. A round asks all
systems one after the other; figures are medians over rounds. Log-probabilities and figures are compared, too.

`start` is the time from a loaded model to its first computed step on a whole benchmark, in processes of their own.
`memory` is the largest memory of a process that scores and writes for ten times as many requests.

The record goes to bench/results/, or where --record says; --quick asks a few documents once and is not a record.
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "fixtures"))  # lm-eval's tasks on local rows

import torch  # noqa: E402
from referee import Referee  # noqa: E402

import puna  # noqa: E402
from puna.benchmarks.files import open_split  # noqa: E402
from puna.core.console import say  # noqa: E402
from puna.core.files import write_json  # noqa: E402
from puna.core.records import commit, machine  # noqa: E402
from puna.evaluate.backends.local import ROWS, LocalBackend  # noqa: E402
from puna.evaluate.documents import Documents, open_documents  # noqa: E402
from puna.evaluate.registry import find_task  # noqa: E402
from puna.evaluate.run import figures, run_documents  # noqa: E402
from puna.infer.engine import Engine  # noqa: E402

Values = list[list[float | str]]
"""Of each document the log-probability of each request, or the text."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A task of both, and how much of it is asked."""

    name: str
    yaml: str
    """lm-eval's file."""
    task: str
    metrics: dict[str, str]
    """Ours, by lm-eval's name."""
    documents: dict[str, int]
    """How many each model is asked; those that are not here are not asked."""
    category: str = ""
    """The subject that is asked alone, whose documents share their solved examples."""
    every: int = 1
    """Of so many documents lm-eval is asked one: it computes each by itself, so its rate is that of all."""


BENCHMARKS = (
    Benchmark(
        name="HellaSwag", yaml="hellaswag/hellaswag.yaml", task="harness/hellaswag",
        metrics={"acc,none": "acc", "acc_norm,none": "acc_norm"}, documents={"smol": 12, "demo": 150},
    ),
    Benchmark(
        name="ARC easy", yaml="arc/arc_easy.yaml", task="harness/arc_easy",
        metrics={"acc,none": "acc", "acc_norm,none": "acc_norm"}, documents={"smol": 24, "demo": 200},
    ),
    Benchmark(
        name="MMLU, 5 shots, astronomy", yaml="mmlu/default/mmlu_astronomy.yaml", task="harness/mmlu@5",
        metrics={"acc,none": "acc"}, documents={"smol": 60}, category="astronomy", every=5,
    ),
    Benchmark(
        name="NaturalQuestions, written", yaml="nq_open/nq_open.yaml", task="harness/nq_open@0",
        metrics={"exact_match,remove_whitespace": "exact_match"}, documents={"smol": 4},
    ),
)  # fmt: skip


@dataclass
class Subject:
    """A model, read by both."""

    name: str
    ours: puna.LanguageModel
    theirs: Any
    """lm-eval's `HFLM`, one for all batch sizes."""
    sizes: dict[str, Any] = field(default_factory=dict)


def subject_of(name: str, path: Path, out: Path) -> Subject:
    """Import, export, and read a model twice."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    native = path
    if not path.is_dir():
        native = out / name
        puna.import_model(path, native)
    puna.export(native, "hf", out / f"{name}-hf")
    ours = puna.load(native, weights="float32")
    model = AutoModelForCausalLM.from_pretrained(out / f"{name}-hf", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(out / f"{name}-hf")
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=ours.engine.longest)
    sizes = {
        "parameters": sum(x.numel() for x in model.parameters()), "context": ours.engine.longest,
        "runner": ours.runner.title, "bos": ours.tokenizer.add_bos,
    }  # fmt: skip
    return Subject(name, ours, theirs, sizes)


def documents_of(benchmark: Benchmark, number: int) -> tuple[Documents, Referee]:
    """The documents, and lm-eval's task of the same or some of them."""
    task = find_task(benchmark.task)
    documents = open_documents(task, open_split)
    rows = list(documents.rows)
    if benchmark.category:
        rows = [(place, row) for place, row in rows if task.example(row, (), "0").category == benchmark.category]
    documents = replace(documents, rows=tuple(rows[:number]))
    splits: dict[str, Any] = {task.split: [row for _, row in documents.rows[:: benchmark.every]]}
    if task.shots:
        pool = open_split(task.data, task.shot_split).rows
        splits[task.shot_split] = [
            row for row in pool if not benchmark.category or task.example(row, (), "0").category == benchmark.category
        ]
    return documents, Referee(benchmark.yaml, splits, shots=task.shots)


def by_us(subject: Subject, documents: Documents) -> tuple[float, Values, dict[str, float | None]]:
    """Seconds, values and figures of Puna, with an empty cache."""
    model = subject.ours
    backend = LocalBackend(Engine(model.runner, model.tokenizer, max_rows=ROWS), model.tokenizer)
    started = time.perf_counter()
    outcome = run_documents(documents, backend)
    found = figures(documents.task, outcome.judged)
    seconds = time.perf_counter() - started
    values: Values = [
        [*(one.logprob for one in each.answer.likelihoods), *(one.text for one in each.answer.written)]
        for each in outcome.judged
    ]
    return seconds, values, {name: metric.value for name, metric in found.items()}


def by_them(subject: Subject, referee: Referee, batch: int) -> tuple[float, Values, dict[str, float]]:
    """The same of lm-eval."""
    from lm_eval.evaluator import evaluate

    referee.task.set_fewshot_seed(1234)
    subject.theirs.batch_size_per_gpu = batch
    name = referee.task.task_name
    started = time.perf_counter()
    found = evaluate(
        lm=subject.theirs, task_dict={"tasks": {name: referee.task}, "groups": {}, "group_map": {}}, bootstrap_iters=0
    )
    seconds = time.perf_counter() - started
    samples = {sample["doc_id"]: sample["resps"] for sample in found["samples"][name]}
    values: Values = [
        [one[0] if isinstance(one[0], str) else one[0][0] for one in samples[number]] for number in sorted(samples)
    ]
    return seconds, values, found["results"][name]


def compared(subject: Subject, benchmark: Benchmark, *, batches: list[int], rounds: int, most: int) -> dict[str, Any]:
    """What both take for a benchmark, and how far their answers differ."""
    documents, referee = documents_of(benchmark, min(most, benchmark.documents[subject.name]))
    by_us(subject, replace(documents, rows=documents.rows[:2]))
    ours: list[float] = []
    theirs: dict[int, list[float]] = {batch: [] for batch in batches}
    answers, figures_of_us, their_answers, figures_of_them = [], {}, [], {}
    for number in range(rounds):
        seconds, answers, figures_of_us = by_us(subject, documents)
        ours.append(seconds)
        # After the first round only the best batch size goes on.
        best = min(theirs, key=lambda batch: min(theirs[batch], default=0.0))
        for batch in batches if number == 0 else [best]:
            seconds, their_answers, figures_of_them = by_them(subject, referee, batch)
            theirs[batch].append(seconds)
    best = min(theirs, key=lambda batch: statistics.median(theirs[batch]))
    same = replace(documents, rows=documents.rows[:: benchmark.every])
    shared = answers[:: benchmark.every]
    if benchmark.every > 1:
        _, shared, figures_of_us = by_us(subject, same)
    rates = _rate(answers, ours), _rate(their_answers, theirs[best])
    record = {
        "model": subject.name, "task": benchmark.name, "documents": len(answers), "requests": sum(map(len, answers)),
        "lm_eval_documents": len(their_answers), "puna_seconds": ours,
        "lm_eval_seconds": {str(batch): seconds for batch, seconds in theirs.items()}, "lm_eval_batch": best,
        "puna_requests_per_second": rates[0], "lm_eval_requests_per_second": rates[1], "times": rates[0] / rates[1],
        "figures": {name: [figures_of_us[ours], figures_of_them[name]] for name, ours in benchmark.metrics.items()},
    } | _differences(shared, their_answers)  # fmt: skip
    say(json.dumps(record))
    return record


def _rate(answers: Values, seconds: list[float]) -> float:
    """Requests per second."""
    return sum(map(len, answers)) / statistics.median(seconds)


def _differences(ours: Values, theirs: Values) -> dict[str, Any]:
    pairs = [pair for one, other in zip(ours, theirs, strict=True) for pair in zip(one, other, strict=True)]
    if isinstance(pairs[0][0], str):
        return {"equal_texts": sum(one == other for one, other in pairs)}
    numbers = [abs(float(one) - float(other)) for one, other in pairs]
    return {"largest_difference": max(numbers)}


START = """
import sys, time
import puna
from pathlib import Path
model = puna.load(sys.argv[1], weights="float32")
model.engine
begin = time.perf_counter()
inner = model.runner.logits
def first(rows):
    found = inner(rows)
    print("seconds", time.perf_counter() - begin, flush=True)
    raise SystemExit
model.runner.logits = first
from puna.benchmarks.files import open_split
from puna.evaluate.backends.local import LocalBackend
from puna.evaluate.documents import open_documents
from puna.evaluate.registry import find_task
from puna.evaluate.run import run_documents
run_documents(open_documents(find_task("harness/hellaswag"), open_split), LocalBackend(model.engine, model.tokenizer))
"""
MEMORY = """
import sys
import torch
sys.path.append(sys.argv[2])
from model_source import random_model
from puna.config.recipe import ModelConfig
from puna.infer.engine import Engine
from puna.infer.operator_runner import OperatorRunner
from puna.infer.requests import Request, Sampling
from puna.infer.scoring import scores
number = int(sys.argv[1])
config = ModelConfig(dim=16, n_layers=1, n_heads=1, n_kv_heads=1, ffn_dim=16, vocab_size=300, context=128)
engine = Engine(OperatorRunner(random_model(config), pages=64))
text = lambda n, length: tuple((n * 7919 + place * 31) % 300 for place in range(length))
pairs = ((text(n // 4, 30), text(n, 3)) for n in range(number))
count = sum(1 for _ in scores(engine, pairs))
requests = (Request(prompt=text(n, 8), max_tokens=4, sampling=Sampling(seed=n)) for n in range(number // 10))
count += sum(event.completion is not None for event in engine.stream(requests))
# Not getrusage's, which counts what the process was before it became this program.
(kilobytes,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("requests", count, "bytes", int(kilobytes) * 1024)
"""


def start(path: Path, runs: int) -> list[float]:
    """Seconds from a loaded model to the first step of HellaSwag, all 10,042 documents of it."""
    return [float(_child(START, str(path))[1]) for _ in range(runs)]


def memory(requests: list[int]) -> dict[str, int]:
    """Bytes of processes that score and write for these numbers of requests."""
    return {str(number): int(_child(MEMORY, str(number), str(ROOT / "tests" / "fixtures"))[3]) for number in requests}


def _child(program: str, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if not re.search(r"^(seconds|requests) ", done.stdout, re.MULTILINE):
        raise SystemExit(f"a measured process failed:\n{done.stderr[-2000:]}")
    return done.stdout.split()


def command(arguments: argparse.Namespace) -> str:
    """The command line without this machine's directories."""
    models = [f"{name}={Path(path).name}" for name, path in (model.split("=", 1) for model in arguments.models)]
    return shlex.join(
        ["python", "bench/evaluate.py", *models, "--rounds", str(arguments.rounds), "--batches", arguments.batches]
    )


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=PATH", help="smol has all benchmarks, demo those of options")
    parser.add_argument("--batches", default="8,32", help="lm-eval's batch sizes (8,32)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--documents", type=int, default=sys.maxsize, help="of each benchmark at most")
    parser.add_argument("--only", default="", help="names of benchmarks that have this text")
    parser.add_argument("--quick", action="store_true", help="a few documents once: not a record")
    parser.add_argument("--record", type=Path, help="where the record goes")
    arguments = parser.parse_args()
    rounds, most = (1, min(4, arguments.documents)) if arguments.quick else (arguments.rounds, arguments.documents)
    batches = [*map(int, arguments.batches.split(","))]
    os.environ |= {
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "0",
    }
    rows, starts, models = [], {}, {}
    with tempfile.TemporaryDirectory() as directory:
        for name, path in (model.split("=", 1) for model in arguments.models):
            subject = subject_of(name, Path(path), Path(directory))
            models[name] = subject.sizes | {"file": Path(path).name}
            rows += [
                compared(subject, benchmark, batches=batches, rounds=rounds, most=most)
                for benchmark in BENCHMARKS
                if name in benchmark.documents and arguments.only in benchmark.name
            ]
            starts[name] = start(subject.ours.path, rounds)
            say(f"{name}: first step after {starts[name]} s")
    record = {
        "command": command(arguments), "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(), "machine": machine(), "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "lm_eval", "accelerate", "tokenizers")},
        "models": models, "tasks": rows, "start_seconds": starts,
        "memory_bytes": memory([100, 1000] if arguments.quick else [4000, 40_000]),
    }  # fmt: skip
    if arguments.quick and arguments.record is None:
        print(json.dumps(record, indent=1))
        return
    target = arguments.record or ROOT / "bench" / "results" / f"evaluate_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(target, record)


if __name__ == "__main__":
    main()

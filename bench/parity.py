"""The parity matrix: what tasks by the rules of lm-evaluation-harness ask and score, beside the harness itself.

    python bench/parity.py texts [--documents N]
    python bench/parity.py model RUN [--documents N]

`texts` asks every task whose data is here about all documents: are the requests the same, text by text, and are the
values of each document and the figures, when both ask a made-up model that answers by the texts alone? The harness side
is its own task files, metrics and evaluator (`tests/fixtures/referee.py`).

`model` asks a real one about the first documents: Puna's engine with Puna's tokens on one side; on the other the
harness, which encodes with the tokenizer of transformers and computes with transformers on the exported directory, both
in float32. It says how far log-likelihoods are apart. Each writes a record to bench/results/.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "fixtures"))
sys.path.append(str(ROOT / "bench"))
os.environ["TQDM_DISABLE"] = "1"  # the harness shows its progress at every step

from referee import Fake, Ours, Referee, by_us  # noqa: E402

from puna.benchmarks.files import open_split  # noqa: E402
from puna.core.console import say  # noqa: E402
from puna.core.files import write_json  # noqa: E402
from puna.core.records import commit, machine  # noqa: E402
from puna.evaluate.example import Row  # noqa: E402
from puna.evaluate.registry import find_task  # noqa: E402
from puna.evaluate.task import Task  # noqa: E402

RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Case:
    """One of our tasks and what it is in the harness."""

    yaml: str
    """Its file; with {} for the subject where each is a task there."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The harness's names of metrics that have others there."""
    subject: str = ""
    """The field of a row that says which task it is of."""


_BLANK = {"exact_match": "exact_match,remove_whitespace"}
CASES: Mapping[str, Case] = {
    "harness/boolq@0": Case("super_glue/boolq/default.yaml"),
    "harness/piqa@0": Case("piqa/piqa.yaml"),
    "harness/social_iqa@0": Case("siqa/siqa.yaml"),
    "harness/hellaswag@0": Case("hellaswag/hellaswag.yaml"),
    "harness/winogrande@0": Case("winogrande/default.yaml"),
    "harness/arc_easy@0": Case("arc/arc_easy.yaml"),
    "harness/arc_challenge@0": Case("arc/arc_challenge.yaml"),
    "harness/openbookqa@0": Case("openbookqa/openbookqa.yaml"),
    "harness/cb@0": Case("super_glue/cb/default.yaml"),
    "harness/copa@0": Case("super_glue/copa/default.yaml"),
    "harness/rte@0": Case("super_glue/rte/default.yaml"),
    "harness/wsc@0": Case("super_glue/wsc/default.yaml"),
    "harness/wic@0": Case("super_glue/wic/default.yaml"),
    "harness/anli_r1@0": Case("anli/anli_r1.yaml"),
    "harness/anli_r2@0": Case("anli/anli_r2.yaml"),
    "harness/anli_r3@0": Case("anli/anli_r3.yaml"),
    "harness/truthfulqa_mc1@0": Case("truthfulqa/truthfulqa_mc1.yaml"),
    "harness/truthfulqa_mc2@0": Case("truthfulqa/truthfulqa_mc2.yaml"),
    "harness/lambada_openai@0": Case("lambada/lambada_openai.yaml"),
    "harness/nq_open@0": Case("nq_open/nq_open.yaml", _BLANK),
    "harness/triviaqa@0": Case("triviaqa/default.yaml", _BLANK),
    "harness/race@0": Case("race/race.yaml"),
    "harness/crows_pairs_english@0": Case("crows_pairs/crows_pairs_english.yaml"),
    "harness/winogender_all@0": Case("winogender/winogender.yaml"),
    "harness/mmlu@0": Case("mmlu/default/mmlu_{}.yaml", subject="subject"),
    "harness/mmlu@5": Case("mmlu/default/mmlu_{}.yaml", subject="subject"),
}
ANSWERS = ("nq_open", "triviaqa")
"""Tasks whose made-up model writes right answers too, so that some documents are right."""


@dataclass
class Line:
    """What comes of one task."""

    task: str
    documents: int = 0
    requests: int = 0
    requests_equal: int = 0
    values: int = 0
    values_equal: int = 0
    largest_difference: float = 0.0
    """Of a figure."""
    missing: str = ""
    likelihoods: int = 0
    """Of a real model, compared."""
    largest_likelihood_difference: float = 0.0
    greedy_equal: int = 0
    cut: int = 0
    """Likelihoods that are not compared, because their contexts are too long for the model."""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether everything is."""
        same = self.requests == self.requests_equal and self.values == self.values_equal
        noise = 1e-5 if self.likelihoods else 1e-12  # float32 or float64
        return same and self.greedy_equal == self.likelihoods and self.largest_difference <= noise


def parts(task: Task, case: Case, n: int | None) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """The harness's tasks that ours is made of, each with its documents and the rows of solved examples.

    Of each subject `n` / 10 documents are taken.
    """
    rows = list(islice(open_split(task.data, task.split).rows, None if case.subject else n))
    solved = list(open_split(task.data, task.shot_split).rows) if case.subject else []
    if not case.subject:
        yield case.yaml, rows, []
        return
    for subject, of_it in groupby(rows, key=lambda row: row[case.subject]):
        shown = [row for row in solved if row[case.subject] == subject]
        yield case.yaml.format(subject), list(islice(of_it, n and max(2, n // 10))), shown


def compare(id: str, case: Case, n: int | None, model: Fake | None = None) -> Line:
    """One line of the matrix with the made-up model."""
    task, line = find_task(id), Line(id)
    if missing := open_split(task.data, task.split).missing:
        line.missing = missing
        return line
    for yaml, rows, solved in parts(task, case, n):
        began = time.perf_counter()
        ours = by_us(task, rows, shots=lambda place, row, solved=solved: solved[: task.shots], model=model)
        requests, found = ours.requests(), ours.scores()
        values = {name: [document.values.get(name) for document in ours.judged()] for name in task.metrics}
        middle = time.perf_counter()
        splits = {task.split: rows} | ({task.shot_split: solved} if solved else {})
        theirs = Referee(yaml, splits, shots=task.shots, model=model)
        asked, scores = theirs.requests(), theirs.scores()
        line.seconds = add(line.seconds, puna=middle - began, harness=time.perf_counter() - middle)
        line.documents += len(rows)
        line.requests += sum(map(len, asked))
        line.requests_equal += sum(len(one) for one, other in zip(asked, requests, strict=False) if one == other)
        tally(line, case, ours, values, theirs, found, scores)
    return line


def tally(
    line: Line, case: Case, ours: Ours, values: Mapping[str, Sequence[Any]], theirs: Referee,
    found: Mapping[str, float | None], scores: Mapping[str, Any],
) -> None:  # fmt: skip
    """Count equal values of documents, and how far figures are apart."""
    for name in ours.task.metrics:
        key = case.names.get(name, f"{name},none")
        expected, got = float(scores[key]), found[name]
        difference = abs(expected - (got if got is not None else float("nan")))
        line.largest_difference = max(line.largest_difference, difference / max(1.0, abs(expected)))
        if None in values[name]:  # a figure that is made of another value, as a perplexity is
            continue
        of_documents = theirs.values(key.partition(",")[0])
        line.values += len(of_documents)
        line.values_equal += sum(one == other for one, other in zip(of_documents, values[name], strict=True))


def add(before: Mapping[str, float], **more: float) -> dict[str, float]:
    """Sums by name."""
    return {name: round(before.get(name, 0.0) + value, 3) for name, value in more.items()}


def texts(n: int | None) -> list[Line]:
    """The matrix with the made-up model."""
    lines = []
    for id, case in CASES.items():
        model = Fake(writes=knows(id)) if any(name in id for name in ANSWERS) else None
        line = compare(id, case, n, model)
        say(f"{id}: " + (line.missing or f"{line.documents:,} documents, {'equal' if line.equal else 'NOT EQUAL'}"))
        lines.append(line)
    return lines


def knows(id: str) -> Any:
    """A writer that answers every other question rightly, with a line break and more text behind the answer."""
    task = find_task(id)
    answers: dict[str, str] = {}
    opened = open_split(task.data, task.split)
    for place, row in enumerate(() if opened.missing else opened.rows):
        example = task.example(row, (), str(place))
        answers[example.ask.prompt] = example.facts["answers"][0] if place % 2 else "something else"
    return lambda prompt: f" {answers[prompt]}\nAnd so on."


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("texts", "model"))
    parser.add_argument("model", nargs="?", help="of `model`: a run, or an imported model")
    parser.add_argument("--documents", type=int, help="of each task at most")
    arguments = parser.parse_args()
    record = {
        "benchmark": f"parity_{arguments.what}", "command": shlex.join(["python", "bench/parity.py", *sys.argv[1:]]),
        "commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(),
        "lm_eval": version("lm_eval"), "documents": arguments.documents,
    }  # fmt: skip
    if arguments.what == "texts":
        record["tasks"] = [as_dict(line) for line in texts(arguments.documents)]
    else:
        from parity_model import compare_model

        with tempfile.TemporaryDirectory() as directory:
            found, described = compare_model(arguments.model, CASES, arguments.documents or 10, Path(directory))
        record |= described | {"tasks": [as_dict(line) for line in found]}
    write_json(RESULTS / f"parity_{arguments.what}_{datetime.now(UTC):%Y-%m-%d}.json", record)


def as_dict(line: Line) -> dict[str, Any]:
    """A line without what is 0 and says nothing."""
    if line.missing:
        return {"task": line.task, "missing": line.missing}
    return {name: value for name, value in vars(line).items() if name == "task" or value} | {"equal": line.equal}


if __name__ == "__main__":
    main()

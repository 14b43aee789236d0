"""How often answers have the form that was asked for: one word, a number, three of a kind, upper case and the like.

    puna run demo
    python bench/format_following.py runs/demo

The finished model is asked before it was tuned (`RUN/model`, by the shipped template `plain`: the question on a line,
the answer on the next) and after (`RUN/chat`, by its own template), greedily, at most 32 tokens. What is judged is the
form alone, by a program; whether an answer is true is another question. No question's subject is in the conversations
that the demo is tuned on, and half of the wordings are not; tests/test_format_bench.py looks. The losses on held-out
answers are those that the tuning measured. The record goes to bench/results/.
"""

import argparse
import ast
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import puna
from puna.core.files import write_json
from puna.core.layout import RunDir
from puna.core.records import commit, machine, packages

RESULTS = Path(__file__).parent / "results"
TOKENS = 32
"""Of an answer at most; the longest that is asked for, a function, takes fewer."""
Z = 1.959963984540054
"""The standard normal's 97.5 % point: intervals hold 95 %."""

PEOPLE = [
    "Samuel Adams", "John Jay", "Nathan Hale", "Lewis Cass", "William H. Seward", "Amelia Earhart", "Stephen Douglas",
    "John Hancock", "Horace Greeley", "Thomas Paine", "Charles Sumner", "Eli Whitney",
]  # fmt: skip
WORDS = [
    "harbor", "bridge", "winter", "garden", "lamp", "mountain", "candle", "railroad", "orchard", "steam", "meadow",
    "anchor",
]  # fmt: skip
KINDS = [
    "trees", "rivers", "birds", "tools", "fruits", "generals", "islands", "machines", "newspapers", "songs", "weapons",
    "taxes",
]  # fmt: skip
FACTS = [
    "What is the opposite of cold?", "What is the opposite of fast?", "What is the opposite of day?",
    "What is the opposite of early?", "Who teaches children?", "Who builds houses?", "What do miners dig?",
    "What do trains carry?", "Which keyword begins a loop?", "Which function opens files?", "What falls in winter?",
    "What do bees make?",
]  # fmt: skip
THINGS = [
    "a canal", "a farm", "a factory", "a governor", "a census", "a patent", "a constant", "a generator", "a decorator",
    "a railway", "a telegraph", "a judge",
]  # fmt: skip
TASKS = [
    "doubles a number", "halves a number", "returns the absolute value of a number", "joins two strings",
    "reverses a string", "counts the words of a text", "returns the average of a list", "returns the second value",
    "negates a number", "appends a value to a list", "returns the remainder of a division", "returns zero",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of answers, and the questions that ask for it."""

    name: str
    holds: Callable[[str, str], bool]
    """Whether an answer, without spaces at its ends, has the form; the second argument is the question's subject."""
    subjects: list[str]
    known: str
    """A wording with `{}` for the subject that the tuning has, with other subjects."""
    other: str
    """A wording that it has not."""
    end: str = "\n"
    """Where the answer of a model ends that has not learned to end answers."""

    def questions(self) -> list[tuple[str, str, str]]:
        """Wording (`known` or `other`), question and subject."""
        wordings = {"known": self.known, "other": self.other}
        return [(name, text.format(subject), subject) for name, text in wordings.items() for subject in self.subjects]


def words_of(text: str) -> list[str]:
    """The words of a text, punctuation aside."""
    return re.findall(r"[\w'-]+", text)


def is_function(text: str) -> bool:
    """Whether a text is Python that defines one function and does nothing else."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False
    return len(body) == 1 and isinstance(body[0], ast.FunctionDef)


def is_three(text: str) -> bool:
    """Whether a text is three different things of one to three words with commas between them."""
    parts = [part.strip(" .") for part in text.split(",")]
    return len(set(parts)) == len(parts) == 3 and all(1 <= len(words_of(part)) <= 3 for part in parts)


def is_sentence(text: str) -> bool:
    """Whether a text is one sentence: a capital first, a full stop last and nowhere else, at least three words."""
    return re.fullmatch(r"[A-Z][^.!?\n]*\.", text) is not None and len(words_of(text)) >= 3


FORMS = [
    Form(
        name="yes or no", holds=lambda text, _: re.fullmatch(r"(yes|no)\.?", text, re.IGNORECASE) is not None,
        subjects=PEOPLE, known="Was {} a president? Answer yes or no.",
        other="Yes or no: did {} ever live in the White House?",
    ),
    Form(
        name="a number", holds=lambda text, _: re.fullmatch(r"\d[\d,]*\.?", text) is not None, subjects=WORDS,
        known='How many letters are in "{}"? Answer with a number.',
        other='Give me only a number: how long is the word "{}"?',
    ),
    Form(
        name="one word", holds=lambda text, _: re.fullmatch(r"[\w'-]+\.?", text) is not None, subjects=FACTS,
        known="Answer with one word: {}", other="{} Use a single word.",
    ),
    Form(
        name="three of a kind", holds=lambda text, _: is_three(text), subjects=KINDS, known="Name three {}.",
        other="List three {} with commas between them.",
    ),
    Form(
        name="upper case", holds=lambda text, _: text.isupper(), subjects=FACTS, known="{} Answer in upper case.",
        other="{} Write your answer in capital letters.",
    ),
    Form(
        name="a whole sentence", holds=lambda text, _: is_sentence(text), subjects=THINGS,
        known="What is {}? Answer in a whole sentence.", other="Tell me in one sentence what {} is.",
    ),
    Form(
        name="at most five words", holds=lambda text, _: 1 <= len(words_of(text)) <= 5, subjects=THINGS,
        known="What is {}? Answer in at most five words.", other="Use no more than five words: what is {}?",
    ),
    Form(
        name="a word twice", holds=lambda text, word: words_of(text) == [word, word], subjects=WORDS,
        known='Say "{}" twice.', other='Write the word "{}" two times.',
    ),
    Form(
        name="a Python function", holds=lambda text, _: is_function(text), subjects=TASKS,
        known="Write a Python function that {}.", other="Show me Python code: a function that {}.", end="\n\n",
    ),
]  # fmt: skip
"""What is asked for."""


def wilson(passed: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share: where a test of the true share by its own normal distribution would not refuse it.

    Wilson (1927). It stays between 0 and 1, and has a width where all or none passed.
    """
    share = passed / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return (0.0 if passed == 0 else centre - half), (1.0 if passed == n else centre + half)


def score(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The share of answers that have their form, with its interval."""
    passed = sum(one["holds"] for one in answers)
    low, high = wilson(passed, len(answers))
    return {"n": len(answers), "passed": passed, "share": passed / len(answers), "low": low, "high": high}


def ask(answer: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """All questions with their answers, judged.

    Args:
        answer: Answers a question; the second argument is the form's `end`.
    """
    found = []
    for form in FORMS:
        for wording, question, subject in form.questions():
            text = answer(question, form.end).strip()
            holds = form.holds(text, subject)
            found.append({"form": form.name, "wording": wording, "question": question, "answer": text, "holds": holds})
    return found


def scores(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all answers, of those to each kind of wording, and of each form."""

    def of(key: str) -> dict[str, Any]:
        names = dict.fromkeys(one[key] for one in answers)
        return {name: score([one for one in answers if one[key] == name]) for name in names}

    return {"all": score(answers), "wordings": of("wording"), "forms": of("form")}


def heldout_loss(run: RunDir) -> list[float]:
    """Nats per token of held-out answers before the first step of a tuning and after its last one."""
    lines = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line["kind"] == "validation"]
    before, after = found[0], found[-1]
    if before["step"] != 0 or not after["final"]:
        raise SystemExit(f"{run}: was not validated before its first step and after its last one")
    return [next(iter(line["loss"].values())) for line in (before, after)]


def main() -> None:
    """Ask the run that is named, before and after, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run of puna run demo")
    run = RunDir(parser.parse_args().run)
    base, tuned = puna.load(run.model), puna.load(run.chat)
    answers = {
        "before": ask(
            # Line breaks before an answer are not a part of it.
            lambda text, end: base.generate(f"{text}\n", max_tokens=TOKENS, temperature=0.0).lstrip().partition(end)[0]
        ),
        "after": ask(
            lambda text, _: tuned.chat([{"role": "user", "content": text}], max_tokens=TOKENS, temperature=0.0)
        ),
    }
    tuning = json.loads(run.chat.record.read_text(encoding="utf-8"))
    record = {
        "schema": 1,
        "benchmark": "format_following",
        "what": "answers of the demo's model that have the form that was asked for; greedy; 95 % intervals by Wilson",
        "command": "python bench/format_following.py runs/demo",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": packages(),
        "tuning": {"seconds": tuning["seconds"], "heldout_loss": heldout_loss(run.chat)},
        "scores": {when: scores(found) for when, found in answers.items()},
        "answers": answers,
    }
    path = RESULTS / f"format_following_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(path, record)
    print(f"record: {path}")


if __name__ == "__main__":
    main()

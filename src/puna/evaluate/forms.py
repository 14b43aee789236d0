"""LLM-foundry's forms of a task, which DataComp-LM and OpenLM use too: what is asked about a row of its files.

Of a row's strings spaces and line breaks at both ends are left out, as LLM-foundry does by default; strings inside of
lists stay as they are. Solved examples stand before the question, each on a new line, with the answer behind the
delimiter. A context never ends in a space: that belongs to the answer. All this is from
`eval/datasets/in_context_learning_evaluation.py`, commit 8c8dd48f.

LLM-foundry encodes solved examples apart from the question. Here both are one text, which gives the same tokens with
byte-level BPE; SentencePiece puts one more space before the question there.
"""

import re
import string
from collections.abc import Callable, Sequence
from typing import TypeAlias

from puna.evaluate.example import Answer, Choose, Continue, Example, Option, Row, Write
from puna.evaluate.task import Verdict

Maker: TypeAlias = Callable[[Row, Sequence[Row], str], Example]
"""Makes an example of a row, as `Task.example` does."""

BETWEEN = "\n"
"""Stands between solved examples and before the question."""


def multiple_choice(delimiter: str = " ") -> Maker:
    """Rows with `query`, `choices` and `gold`: which choice follows the query.

    Args:
        delimiter: Between query and choice, such as a line break and "Answer: ".
    """

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [f"{shot['query'].strip()}{delimiter}{shot['choices'][shot['gold']]}" for shot in shots]
        context = BETWEEN.join([*solved, row["query"].strip() + delimiter]).rstrip()
        options = tuple(
            Option(context=context, continuation=_set_off(choice), text=choice) for choice in row["choices"]
        )
        return Example(id=id, ask=Choose(options=options, gold=(row["gold"],)), category=row.get("category", ""))

    return make


def schema(delimiter: str = " ") -> Maker:
    """Rows with `context_options`, `continuation` and `gold`: after which context the continuation is likeliest.

    Args:
        delimiter: Between context and continuation.
    """

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [f"{shot['context_options'][shot['gold']]}{delimiter}{shot['continuation'].strip()}" for shot in shots]
        # With examples LLM-foundry sets the delimiter behind the context, without its space; alone, nothing.
        before, behind = ("".join(text + BETWEEN for text in solved), delimiter.rstrip()) if shots else ("", "")
        text = row["continuation"].strip()
        options = tuple(
            Option(context=f"{before}{context}{behind}", continuation=_set_off(text), text=text)
            for context in row["context_options"]
        )
        return Example(id=id, ask=Choose(options=options, gold=(row["gold"],)), category=row.get("category", ""))

    return make


def language_modeling(delimiter: str = " ") -> Maker:
    """Rows with `context` and `continuation`: whether each token of the continuation is the likeliest.

    Args:
        delimiter: Between context and continuation.
    """

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [f"{shot['context'].strip()}{delimiter}{shot['continuation'].strip()}" for shot in shots]
        context = BETWEEN.join([*solved, row["context"].strip() + delimiter]).rstrip()
        text = row["continuation"].strip()
        ask = Continue(context=context, target=_set_off(text), text=text)
        return Example(id=id, ask=ask, category=row.get("category", ""))

    return make


def generation(max_tokens: int, delimiter: str = " ") -> Maker:
    """Rows with `context`, `answer` and `aliases`: a greedy text that is to begin with one of the answers.

    Args:
        max_tokens: LLM-foundry writes as many tokens as the longest answer of the file has; more change nothing.
        delimiter: Between context and answer.
    """

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [f"{shot['context'].strip()}{delimiter}{shot['answer'].strip()}" for shot in shots]
        prompt = BETWEEN.join([*solved, row["context"].strip() + delimiter]).rstrip()
        answers = list(dict.fromkeys([row["answer"].strip(), *row.get("aliases", ())]))
        return Example(
            id=id, ask=Write(prompt=prompt, max_tokens=max_tokens), category=row.get("category", ""),
            facts={"answers": answers},
        )  # fmt: skip

    return make


def all_greedy(example: Example, answer: Answer) -> Verdict:
    """Accuracy of `language_modeling`: 1 if every token of the continuation is the likeliest one."""
    return {"acc": float(answer.likelihoods[0].greedy)}, {}


def begins_with_an_answer(example: Example, answer: Answer) -> Verdict:
    """Accuracy of `generation`: 1 if the text, normalised, begins with one of the normalised answers.

    So "Paris, I think" is right where "Paris" is, and an answer of which normalising leaves nothing is always right.
    """
    found = normalised(answer.written[0].text)
    right = any(found.startswith(normalised(listed)) for listed in example.facts["answers"])
    return {"acc": float(right)}, {"answer": found}


def normalised(answer: str) -> str:
    """An answer in lower case, without punctuation, articles and repeated spaces.

    As in TriviaQA's own evaluation (Joshi et al., 2017), where a space takes the place of punctuation.
    """
    text = answer.replace("_", " ").lower()
    text = "".join(" " if letter in _PUNCTUATION else letter for letter in text)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


_PUNCTUATION = frozenset(string.punctuation + "‘’´`")  # noqa: RUF001


def _set_off(text: str) -> str:
    return text if text.startswith(" ") else " " + text

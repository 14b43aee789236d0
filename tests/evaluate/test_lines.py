"""A document's line holds its answer without loss, and shared contexts once."""

import json
import math

import pytest

from puna.core.schema.evaluation import DocumentLine
from puna.core.schema.part import parse
from puna.evaluate.example import (
    Answer,
    Ask,
    Choose,
    Continue,
    Example,
    Judged,
    Likelihood,
    Option,
    Read,
    Write,
    Written,
)
from puna.evaluate.lines import answered, line_of

SURE = Likelihood(logprob=-1 / 3, tokens=2, greedy=True, cut=3)
NEVER = Likelihood(logprob=-math.inf, tokens=1, greedy=False, moved=True)
OPTIONS = (
    Option(context="Q:", continuation=" yes", text="yes"),
    Option(context="Q:", continuation=" no", text="no"),
)
ENDINGS = (Option(context="A", continuation=" end", text=" end"), Option(context="B", continuation=" end", text=" end"))
OWN = (("Answer:", " yes"), ("Answer:", " no"))
CASES: dict[str, tuple[Ask, Answer]] = {
    "choose": (Choose(options=OPTIONS, gold=(1,)), Answer(likelihoods=(SURE, NEVER))),
    "own": (Choose(options=OPTIONS, gold=(0, 1), own=OWN), Answer(likelihoods=(SURE, NEVER), own=(NEVER, SURE))),
    "endings": (Choose(options=ENDINGS, gold=(0,)), Answer(likelihoods=(NEVER, SURE))),
    "continue": (Continue(context="Q:", target=" yes", text="yes"), Answer(likelihoods=(SURE,))),
    "read": (Read(texts=("one", "two")), Answer(likelihoods=(SURE, NEVER))),
    "write": (
        Write(prompt="P", max_tokens=3, n=2),
        Answer(
            written=(Written(text="a", tokens=1, finish="stop"), Written(text="", tokens=0, finish="length", cut=2))
        ),
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_answer_comes_back_from_its_line(case: str) -> None:
    ask, answer = CASES[case]
    example = Example(id="7", ask=ask, category="c", facts={"answers": ["x"]})
    judged = Judged(example=example, answer=answer, values={"acc": 0.5, "f1": None}, shown={"chosen": {"acc": 1}})
    text = json.dumps(line_of(judged).model_dump(mode="json", exclude_defaults=True))
    line = parse(DocumentLine, json.loads(text), "a line")
    assert answered(line).judged(example) == judged
    assert (line.category, line.facts) == ("c", {"answers": ["x"]})


def test_a_context_that_all_options_share_is_in_a_line_once() -> None:
    def line(case: str) -> DocumentLine:
        ask, answer = CASES[case]
        return line_of(Judged(example=Example(id="7", ask=ask), answer=answer, values={}))

    assert (line("own").context, [option.context for option in line("own").options]) == ("Q:", [None, None])
    assert (line("endings").context, [option.context for option in line("endings").options]) == ("", ["A", "B"])
    assert [option.text for option in line("own").options] == ["yes", "no"]
    assert [option.text for option in line("endings").options] == [None, None]

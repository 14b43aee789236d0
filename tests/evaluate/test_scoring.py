"""Scoring: each text once, what fails is missing, what is done is kept."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from plugins import Install, install
from referee import by_us

from puna.core.errors import EvaluateError
from puna.core.plugins import Plugin
from puna.evaluate import scoring
from puna.evaluate.example import Answer, Example, Judged, Write, Written
from puna.evaluate.figure import mean
from puna.evaluate.registry import find_task
from puna.evaluate.scorer import TOXICITY, TRUTH, Passage, ScorerEntry
from puna.evaluate.scoring import find_scorers, score, scorer_of, scorers

__all__ = ["install"]

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "extend.md"


def from_guide(name: str) -> str:
    """The module of this name as the guide prints it."""
    found = re.search(rf"`{name}\.py`:\n\n```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


class Counting:
    """Calls a text as toxic as its share of x; one that is empty it cannot judge."""

    title = "counting x"
    batch = 2

    def __init__(self) -> None:
        self.seen: list[Passage] = []

    def score(self, passages: Sequence[Passage]) -> list[Mapping[str, float | None]]:
        self.seen += passages
        return [{"toxicity": p.text.count("x") / len(p.text) if p.text else None} for p in passages]


def document(id: str, text: str) -> Judged:
    example = Example(id=id, ask=Write(prompt=f"{id}:", max_tokens=4), facts={"of": id})
    answer = Answer(written=(Written(text=text, tokens=1, finish="stop"),))
    return Judged(example=example, answer=answer, values=TOXICITY.unknown, shown={"found": id})


TEXTS = ("xx", "xa", "", "aa", "xxxa")


@pytest.fixture
def documents() -> list[Judged]:
    return [document(f"d{place}", text) for place, text in enumerate(TEXTS)]


def values(judged: Sequence[Judged]) -> list[float | None]:
    return [one.values["toxicity"] for one in judged]


def nowhere(judged: Sequence[Judged]) -> None:
    pass


def test_every_text_gets_its_score_and_what_cannot_be_judged_is_missing(documents):
    scorer = Counting()
    found = score(documents, TOXICITY, scorer, nowhere)
    assert values(found) == [1.0, 0.5, None, 0.0, 0.75]
    figure = mean(found, "toxicity")
    assert (figure.value, figure.n, figure.missing) == (0.5625, 4, 1)
    assert found[0].shown == {"found": "d0", "scorer": "counting x"}
    assert scorer.seen[0] == Passage(prompt="d0:", text="xx", facts={"of": "d0"})
    assert scorer_of(found) == "counting x"
    assert scorer_of(documents) is None


def test_only_what_has_no_score_is_judged_again(documents):
    done = score(documents, TOXICITY, Counting(), nowhere)
    again = Counting()
    assert values(score(done, TOXICITY, again, nowhere)) == values(done)
    assert [passage.text for passage in again.seen] == [""]


def test_another_scorer_judges_everything(documents):
    other = Counting()
    other.title = "another"
    score(score(documents, TOXICITY, Counting(), nowhere), TOXICITY, other, nowhere)
    assert len(other.seen) == len(TEXTS)


def test_what_was_judged_before_an_error_is_kept(documents):
    class Failing(Counting):
        def score(self, passages: Sequence[Passage]) -> list[Mapping[str, float | None]]:
            if len(self.seen) >= 4:
                raise EvaluateError("gone")
            return super().score(passages)

    kept: list[Sequence[Judged]] = []
    with pytest.raises(EvaluateError, match="gone"):
        score(documents, TOXICITY, Failing(), lambda judged: kept.append(list(judged)))
    assert values(kept[-1]) == [1.0, 0.5, None, 0.0, None]
    rest = Counting()
    assert values(score(kept[-1], TOXICITY, rest, nowhere)) == [1.0, 0.5, None, 0.0, 0.75]
    assert [passage.text for passage in rest.seen] == ["", "xxxa"]


def test_scores_are_kept_from_time_to_time(documents, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scoring, "KEEP_SECONDS", -1.0)
    kept: list[list[float | None]] = []
    score(documents, TOXICITY, Counting(), lambda judged: kept.append(values(judged)))
    assert kept[0] == [1.0, 0.5, None, None, None]
    assert len(kept) == 4


def test_nothing_is_written_where_nothing_is_left(documents):
    full = [one for one in score(documents, TOXICITY, Counting(), nowhere) if one.values["toxicity"] is not None]
    score(full, TOXICITY, Counting(), lambda judged: pytest.fail("written"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([{"toxicity": 1.5}], "toxicity is 1.5, but must be from 0 to 1"),
        ([{"toxicity": float("nan")}], "toxicity is nan, but must be from 0 to 1"),
        ([], "gave 0 results for 1 texts"),
    ],
)
def test_a_scorer_that_gives_something_else_is_refused(given, says: str):
    class Wrong(Counting):
        def score(self, passages: Sequence[Passage]) -> list[Mapping[str, float | None]]:
            return given

    with pytest.raises(EvaluateError, match=says):
        score([document("d", "text")], TOXICITY, Wrong(), nowhere)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Packages that add scorers."""

    def add(**names: str) -> None:
        def points(group: str) -> list[Plugin]:
            return [
                Plugin(
                    group=group, name=name, brought_by="a test", origin="1",
                    read=lambda: ScorerEntry(title="added", open=Counting),
                )
                for name, kind in names.items()
                if group == f"puna.{kind}"
            ]  # fmt: skip

        monkeypatch.setattr("puna.core.plugins.installed", points)

    return add


def test_scorers_of_packages_are_found_by_kind_and_name(added):
    added(mine="toxicity", judge="truth")
    assert list(scorers(TOXICITY)) == ["perspective", "mine"]
    assert list(scorers(TRUTH)) == ["judge"]
    found = find_scorers(["mine", "judge"])
    assert {kind: entry.title for kind, entry in found.items()} == {"toxicity": "added", "truth": "added"}
    assert find_scorers([]) == {}


def test_one_name_may_judge_both(monkeypatch: pytest.MonkeyPatch):
    def points(group: str) -> list[Plugin]:
        entry = ScorerEntry(title=group, open=Counting)
        return [Plugin(group=group, name="mine", brought_by="a test", origin="1", read=lambda: entry)]

    monkeypatch.setattr("puna.core.plugins.installed", points)
    found = {kind: entry.title for kind, entry in find_scorers(["mine"]).items()}
    assert found == {"toxicity": "puna.toxicity", "truth": "puna.truth"}


def test_a_scorer_that_is_not_there_gets_a_suggestion():
    with pytest.raises(EvaluateError, match="--scorer: 'perspectiv' is not a scorer") as caught:
        find_scorers(["perspectiv"])
    assert caught.value.hint == "did you mean perspective?"
    with pytest.raises(EvaluateError) as caught:
        find_scorers(["gpt"])
    assert caught.value.hint == "there are perspective"


def test_two_scorers_of_one_kind_are_refused(added):
    added(mine="toxicity")
    with pytest.raises(EvaluateError, match="two scorers of toxicity"):
        find_scorers(["perspective", "mine"])


def test_the_guide_s_scorer_works_as_a_package(install: Install):
    points = {"puna.toxicity": {"rude-words": "word_scorer:SCORER"}}
    install(name="word_scorer", source=from_guide("word_scorer"), points=points)
    entry = find_scorers(["rude-words"])["toxicity"]
    found = score([document("d", "You fool!"), document("e", " ")], TOXICITY, entry.open(), nowhere)
    assert values(found) == [0.5, None]
    assert scorer_of(found) == "rude words 1.0"


def test_the_guide_s_task_works_as_a_package(install: Install):
    install(name="lettered", source=from_guide("lettered"), points={"puna.tasks": {"arc_easy": "lettered:TASK"}})
    task = find_task("lettered/arc_easy")
    row = {"question": "Which?", "choices": {"label": ["A", "B"], "text": ["this", "that"]}, "answerKey": "B"}
    ours = by_us(task, [row])
    context = "Which?\nA. this\nB. that\nAnswer:"
    assert ours.requests() == [[(context, " A"), (context, " B")]]
    assert ours.scores()["acc"] in (0.0, 1.0)

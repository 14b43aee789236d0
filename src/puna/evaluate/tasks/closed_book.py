"""Closed-book questions: NaturalQuestions and TriviaQA.

`llama` follows section 3.2 and appendix A of Touvron et al. (2023): one line of instruction in every setting, greedy
text up to the first line break, final dot or comma, and exact match of normalised texts with any listed answer. What
they leave open is settled so:

- A final dot is one before a space or the text's end, so "3.5" is one answer; "St. Louis" is not.
- Questions begin with a capital and end in a question mark, as in their figure 3; NaturalQuestions has neither.
- Solved examples are drawn again for each question from the training split, as by Brown et al. (2020), section 2.4; the
  first listed answer stands behind them.
- Normalising removes punctuation, then articles, as SQuAD's evaluation does (Rajpurkar et al., 2016).
- An answer has at most 64 tokens. An empty one is wrong.

`harness` is lm-evaluation-harness's `nq_open` and `triviaqa`: another prompt, text up to the first dot of any kind, and
articles removed from NaturalQuestions alone, where they stand before a word.
"""

import re
import string
from collections.abc import Callable, Sequence

from puna.evaluate.draws import harness_draws
from puna.evaluate.example import Answer, Example, Row, Write
from puna.evaluate.figure import mean
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.task import Task, Verdict

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_LONGEST = 64
_HARNESS_LONGEST = 256
"""lm-evaluation-harness's `max_gen_toks`."""
_HARNESS_ARTICLES = re.compile(r"\b(?:The |the |An |A |The |a |an )")


def _nq_answers(row: Row) -> list[str]:
    return list(row["answer"])


def _trivia_answers(row: Row) -> list[str]:
    return list(dict.fromkeys([row["answer"]["value"], *row["answer"]["aliases"]]))


def _trivia_aliases(row: Row) -> list[str]:
    return list(row["answer"]["aliases"])


def _llama(answers: Callable[[Row], list[str]]) -> Callable[[Row, Sequence[Row], str], Example]:
    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = "".join(f"Q: {_question(shot)}\nA: {answers(shot)[0]}\n" for shot in shots)
        prompt = f"Answer these questions:\n{solved}Q: {_question(row)}\nA:"
        ask = Write(prompt=prompt, max_tokens=_LONGEST, stop=("\n", ",", ". "))
        return Example(id=id, ask=ask, facts={"answers": answers(row)})

    return make


def _question(row: Row) -> str:
    text = row["question"].strip()
    ended = text.rstrip("\"'”’) ").endswith(("?", ".", "!"))  # noqa: RUF001
    return text[:1].upper() + text[1:] + ("" if ended else "?")


def _judged_by_llama(example: Example, answer: Answer) -> Verdict:
    found = re.split(r"\n|,|\.(?=\s|$)", answer.written[0].text, maxsplit=1)[0].strip()
    cleaned = normalised(found)
    right = bool(cleaned) and cleaned in {normalised(listed) for listed in example.facts["answers"]}
    return {"exact_match": float(right)}, {"answer": found}


def normalised(text: str) -> str:
    """A text in lower case, without punctuation, articles and repeated spaces."""
    text = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _harness(
    *, header: str, question: str, answer: str, between: str, answers: Callable[[Row], list[str]]
) -> Callable[[Row, Sequence[Row], str], Example]:
    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        def asked(of: Row) -> str:
            return f"{question}{of['question']}?\n{answer}"

        prompt = header + "".join(f"{asked(shot)} {answers(shot)[0]}{between}" for shot in shots) + asked(row)
        ask = Write(prompt=prompt, max_tokens=_HARNESS_LONGEST, stop=("\n", ".", ","))
        return Example(id=id, ask=ask, facts={"answers": answers(row)})

    return make


def _judged_by_harness(articles: re.Pattern[str] | None) -> Callable[[Example, Answer], Verdict]:
    def cleaned(text: str) -> str:
        text = articles.sub("", text) if articles else text
        return text.lower().translate(_WITHOUT_PUNCTUATION)

    def judge(example: Example, answer: Answer) -> Verdict:
        found = answer.written[0].text.strip()
        right = cleaned(found) in [cleaned(listed) for listed in example.facts["answers"]]
        return {"exact_match": float(right)}, {"answer": found}

    return judge


TASKS = (
    Task(
        name="nq_open", protocol=LLAMA, title="NaturalQuestions", data="nq_open", split="validation",
        example=_llama(_nq_answers), judge=_judged_by_llama, metrics={"exact_match": mean}, chance=0.0,
        shot_split="train", pick="draw",
    ),
    Task(
        name="triviaqa", protocol=LLAMA, title="TriviaQA", data="trivia_qa", split="validation",
        example=_llama(_trivia_answers), judge=_judged_by_llama, metrics={"exact_match": mean}, chance=0.0,
        shot_split="train", pick="draw",
    ),
    Task(
        name="triviaqa_wikipedia", protocol=LLAMA, title="TriviaQA (Wikipedia)", data="trivia_qa_wikipedia",
        split="validation", example=_llama(_trivia_answers), judge=_judged_by_llama, metrics={"exact_match": mean},
        chance=0.0, shot_split="train", pick="draw",
    ),
    Task(
        name="nq_open", protocol=HARNESS, title="NaturalQuestions", data="nq_open", split="validation",
        example=_harness(
            header="Answer these questions:\n\n", question="Q: ", answer="A:", between="\n", answers=_nq_answers
        ),
        judge=_judged_by_harness(_HARNESS_ARTICLES), metrics={"exact_match": mean}, chance=0.0,
        shot_split="train", draws=harness_draws(spare=True),
    ),
    Task(
        name="triviaqa", protocol=HARNESS, title="TriviaQA", data="trivia_qa", split="validation",
        example=_harness(
            header="", question="Question: ", answer="Answer:", between="\n\n", answers=_trivia_aliases
        ),
        judge=_judged_by_harness(None), metrics={"exact_match": mean}, chance=0.0,
        shot_split="train", draws=harness_draws(spare=True),
    ),
)  # fmt: skip

"""Multiple choice of common sense, against lm-eval and against figures and examples of papers."""

from typing import Any

import pytest
from benchmark_rows import Rows
from referee import Referee, asked, by_us

from puna.evaluate.example import Answer, Likelihood
from puna.evaluate.registry import find_task

HARNESS = {
    "boolq": "super_glue/boolq/default.yaml",
    "piqa": "piqa/piqa.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "boolq": [{"idx": n, "passage": f"A -- b {n}.", "question": f"is a b {n}", "label": n % 2} for n in range(12)],
    "piqa": [{"goal": f"To {n}", "sol1": "a  b", "sol2": "do it.", "label": n % 2} for n in range(12)],
    "social_iqa": [
        {"context": f"c{n}.", "question": "q?", "answerA": "a", "answerB": "b", "answerC": "c", "label": str(n % 3 + 1)}
        for n in range(12)
    ],
    "hellaswag": [
        {
            "ind": n, "activity_label": "[x] Family Life", "ctx_a": "[header] How to do it [title] Do  it. [step] Now.",
            "ctx_b": "he [step]", "endings": ["[substeps] One. Two.", "Three [title] four.", " five", f"six {n}"],
            "label": str(n % 4),
        }
        for n in range(12)
    ],
    "winogrande": [
        {"sentence": f"Ann met Bo and _ saw {n}. ", "option1": "Ann", "option2": "Bo", "answer": str(n % 2 + 1)}
        for n in range(12)
    ],
    "arc_easy": [
        {
            "id": str(n), "question": f"Which {n}?", "answerKey": "C",
            "choices": {"text": ["a", "bb", "ccc", "d", "e"][: 3 + n % 3], "label": list("ABCDE")[: 3 + n % 3]},
        }
        for n in range(12)
    ],
    "openbookqa": [
        {"id": str(n), "question_stem": f"A {n} is", "answerKey": " B",
         "choices": {"text": ["a", "bb", "ccc", "d"], "label": list("ABCD")}}
        for n in range(12)
    ],
}  # fmt: skip


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", ROWS)
def test_harness_tasks_ask_and_score_as_lm_eval(name: str, shots: int) -> None:
    task, rows = find_task(f"harness/{name}"), ROWS[name][:6]
    # lm-eval leaves the document out of the examples only where it has no test split.
    train = ROWS[name][6 if task.split == "test" else 1 :]
    assert task.draws is not None
    drawn = list(task.draws(train, rows, shots)) if shots else [[]] * len(rows)
    ours = by_us(task, rows, shots=lambda place, row: drawn[place])
    theirs = Referee(HARNESS[name], {task.split: rows, "train": train}, shots=shots)
    assert ours.requests() == theirs.requests()
    assert ours.scores() == {metric: theirs.scores()[f"{metric},none"] for metric in task.metrics}


@pytest.mark.parametrize("name", HARNESS)
def test_real_rows_are_asked_and_scored_as_by_lm_eval(name: str, real_rows: Rows) -> None:
    task = find_task(f"harness/{name}")
    rows = real_rows(task.data, task.split, 100)
    ours, theirs = by_us(task, rows), Referee(HARNESS[name], {task.split: rows})
    assert ours.requests() == theirs.requests()
    for metric in task.metrics:
        assert [document.values[metric] for document in ours.judged()] == theirs.values(metric)


def test_the_referee_notices_another_prompt() -> None:
    rows = ROWS["hellaswag"]
    theirs = Referee(HARNESS["hellaswag"], {"validation": rows})
    assert by_us(find_task("harness/hellaswag"), [*rows[1:], rows[0]]).requests() != theirs.requests()


@pytest.mark.parametrize("name", ["boolq", "openbookqa"])
def test_llama_divides_by_the_likelihood_after_answer(name: str) -> None:
    task = find_task(f"llama/{name}")
    example = task.example(ROWS[name][0], (), "0")
    options = example.ask.options
    assert asked(example)[len(options) :] == [("Answer:", option.continuation) for option in options]
    likely = [Likelihood(logprob=-1.0 - place, tokens=1, greedy=False) for place in range(len(options))]
    own = [Likelihood(logprob=-1.0 - 2 * place, tokens=1, greedy=False) for place in range(len(options))]
    _, shown = task.judge(example, Answer(likelihoods=tuple(likely), own=tuple(own)))
    assert shown["chosen"] == {"acc": len(options) - 1}  # -1 - place + 1 + 2 place is largest at the last


def test_llama_divides_by_characters_without_the_space() -> None:
    task = find_task("llama/piqa")
    example = task.example({"goal": "g", "sol1": "ab", "sol2": "abcd", "label": 1}, (), "0")
    of = [Likelihood(logprob=logprob, tokens=1, greedy=False) for logprob in (-2.1, -4.0)]
    assert task.judge(example, Answer(likelihoods=tuple(of)))[0] == {"acc": 1.0}  # -1.05 < -1; with it -0.70 > -0.80


@pytest.mark.parametrize(
    ("name", "row", "context", "continuation"),
    [
        ("boolq", {"passage": "Normal force -- It is.", "question": "is it", "label": 1},
         "Normal force -- It is.\nquestion: is it?\nanswer:", " no"),
        ("piqa", {"goal": "How to apply sealant to wood.", "sol1": "a", "sol2": "b", "label": 0},
         "How to apply sealant to wood.", " a"),
        ("openbookqa", {"question_stem": "Organisms require energy in order to do what?", "answerKey": "A",
                        "choices": {"text": ["mature"], "label": ["A"]}},
         "Organisms require energy in order to do what?", " mature"),
        ("arc_easy", {"question": "Which skin?", "answerKey": "A", "choices": {"text": ["dry palms"], "label": ["A"]}},
         "Question: Which skin?\nAnswer:", " dry palms"),
        ("winogrande", {"sentence": "Johnny likes it because the _ are saccharine.", "option1": "fruits",
                        "option2": "vegetables", "answer": "1"},
         "Johnny likes it because the fruits", " are saccharine."),
    ],
)  # fmt: skip
def test_llama_prompts_have_the_form_of_gpt_3s(name: str, row: dict[str, Any], context: str, continuation: str) -> None:
    first = find_task(f"llama/{name}").example(row, (), "0").ask.options[0]
    assert (first.context, first.continuation) == (context, continuation)

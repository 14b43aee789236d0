"""The 22 tasks of the CORE metric (Li et al., 2024, section 3.5 and appendix G), and the metric itself.

DataComp-LM computes it with LLM-foundry on LLM-foundry's files: its requests are those of `puna.evaluate.forms`, with
the numbers of solved examples of its `eval/heavy.yaml` (commit 361714b), which are drawn from the file itself. Each
score is centred, so that guessing has 0 and all right has 1: (score - guess) / (1 - guess). CORE is the mean of the 22.

What guessing scores was corrected in September 2025 for three of the tasks. `BASELINES` are the corrected values,
`FIRST_BASELINES` those of the paper, by which nanochat's figures are computed (GPT-2: 0.256525).

Some files are packaged nowhere: CORE is a number only where all 22 tasks have been run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from puna.evaluate.averages import mean_of_categories
from puna.evaluate.draws import foundry_draws
from puna.evaluate.example import Answer, Example, Judged, Row
from puna.evaluate.figure import Figure, mean
from puna.evaluate.forms import Maker, all_greedy, language_modeling, multiple_choice, schema
from puna.evaluate.judging import choose_by
from puna.evaluate.protocols import CORE
from puna.evaluate.task import Aggregate, Task, Verdict
from puna.evaluate.tasks.foundry import ANSWER, hellaswag_rows

BASELINES: Mapping[str, float] = {
    "hellaswag_zeroshot": 0.25, "jeopardy": 0.0, "bigbench_qa_wikidata": 0.0, "arc_easy": 0.25, "arc_challenge": 0.25,
    "copa": 0.5, "commonsense_qa": 0.403, "piqa": 0.5, "openbookqa": 0.25, "lambada_openai": 0.0, "hellaswag": 0.25,
    "winograd": 0.5, "winogrande": 0.5, "bigbench_dyck_languages": 0.0, "agi_eval_lsat_ar": 0.25,
    "bigbench_cs_algorithms": 0.0, "bigbench_operators": 0.0, "bigbench_repeat_copy_logic": 0.0, "squad": 0.0,
    "coqa": 0.0, "boolq": 0.62, "bigbench_language_identification": 0.25,
}  # fmt: skip
"""What guessing scores, as DataComp-LM's `eval/eval_meta_data.csv` has it since version 2."""
FIRST_BASELINES: Mapping[str, float] = {
    **BASELINES, "commonsense_qa": 0.2, "agi_eval_lsat_ar": 0.2, "bigbench_language_identification": 0.091,
}  # fmt: skip
"""The same in version 1 (`eval/eval_meta_data_v1.csv`)."""


def centred(score: float, baseline: float) -> float:
    """A score on the scale on which guessing is 0 and all right is 1; below 0 where guessing is better."""
    return (score - baseline) / (1 - baseline)


def core(scores: Mapping[str, float | None], baselines: Mapping[str, float] = BASELINES) -> float | None:
    """The CORE metric of the accuracies of its 22 tasks.

    Args:
        scores: From 0 to 1 by the tasks' names; others are not looked at.
        baselines: What guessing scores.

    Returns:
        The mean of the centred scores; None where one of the 22 is not there.
    """
    found = [(scores.get(name), baseline) for name, baseline in baselines.items()]
    values = [centred(score, baseline) for score, baseline in found if score is not None]
    return sum(values) / len(values) if len(values) == len(baselines) else None


def _centred(average: Aggregate, baseline: float) -> Aggregate:
    def figure(judged: Sequence[Judged], metric: str) -> Figure:
        plain = average(judged, "acc")
        if plain.value is None:
            return plain
        error = None if plain.stderr is None else plain.stderr / (1 - baseline)
        return Figure(value=centred(plain.value, baseline), n=plain.n, missing=plain.missing, stderr=error)

    return figure


def _task(
    name: str,
    title: str,
    data: str,
    example: Maker,
    shots: int,
    *,
    judge: Callable[[Example, Answer], Verdict] = all_greedy,
    split: str = "test",
    average: Aggregate = mean,
    rows: Callable[[Iterable[Row]], Iterator[Row]] | None = None,
    group: Callable[[Row], str] | None = None,
) -> Task:
    return Task(
        name=name, protocol=CORE, title=title, data=data, split=split, example=example, judge=judge,
        metrics={"acc": average, "centred": _centred(average, BASELINES[name])}, shots=shots, shot_split=split,
        draws=foundry_draws, rows=rows, group=group, chance=BASELINES[name],
    )  # fmt: skip


_PER_TOKEN = choose_by(acc="token")

TASKS = (
    _task(
        "hellaswag_zeroshot", "HellaSwag, no examples", "hellaswag", multiple_choice(), 0, judge=_PER_TOKEN,
        split="validation", rows=hellaswag_rows,
    ),
    _task(
        "jeopardy", "Jeopardy", "jeopardy", language_modeling(ANSWER), 10, average=mean_of_categories,
        group=lambda row: row["category"],
    ),
    _task("bigbench_qa_wikidata", "Wikidata", "foundry_bigbench_qa_wikidata", language_modeling(), 10),
    _task("arc_easy", "ARC-easy", "foundry_arc_easy", multiple_choice(ANSWER), 10, judge=_PER_TOKEN),
    _task("arc_challenge", "ARC-challenge", "foundry_arc_challenge", multiple_choice(ANSWER), 10, judge=_PER_TOKEN),
    _task("copa", "COPA", "foundry_copa", multiple_choice(), 0, judge=_PER_TOKEN),
    _task("commonsense_qa", "CommonsenseQA", "foundry_commonsense_qa", multiple_choice(), 10, judge=_PER_TOKEN),
    _task("piqa", "PIQA", "foundry_piqa", multiple_choice(ANSWER), 10, judge=_PER_TOKEN),
    _task("openbookqa", "OpenBookQA", "foundry_openbook_qa", multiple_choice(), 0, judge=_PER_TOKEN),
    _task("lambada_openai", "LAMBADA", "foundry_lambada_openai", language_modeling(), 0),
    _task(
        "hellaswag", "HellaSwag", "hellaswag", multiple_choice(), 10, judge=_PER_TOKEN, split="validation",
        rows=hellaswag_rows,
    ),
    _task("winograd", "Winograd", "foundry_winograd_wsc", schema(), 0, judge=_PER_TOKEN),
    _task("winogrande", "WinoGrande", "foundry_winogrande", schema(), 0, judge=_PER_TOKEN),
    _task("bigbench_dyck_languages", "Dyck languages", "foundry_bigbench_dyck_languages", language_modeling(), 10),
    _task("agi_eval_lsat_ar", "Law school test", "foundry_agi_eval_lsat_ar", multiple_choice(), 3, judge=_PER_TOKEN),
    _task("bigbench_cs_algorithms", "Algorithms", "foundry_bigbench_cs_algorithms", language_modeling(), 10),
    _task("bigbench_operators", "Operators", "foundry_bigbench_operators", language_modeling(), 10),
    _task("bigbench_repeat_copy_logic", "Repeat copy", "foundry_bigbench_repeat_copy_logic", language_modeling(), 10),
    _task("squad", "SQuAD", "foundry_squad", language_modeling(), 10),
    _task("coqa", "CoQA", "foundry_coqa", language_modeling(), 0),
    _task("boolq", "BoolQ", "foundry_boolq", multiple_choice(ANSWER), 10, judge=_PER_TOKEN),
    _task(
        "bigbench_language_identification", "Language identification", "foundry_bigbench_language_identification",
        multiple_choice(), 10, judge=_PER_TOKEN,
    ),
)  # fmt: skip

"""Suites: which task makes which figure of a published table, so that our column can be printed beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from puna.core.errors import EvaluateError
from puna.evaluate.aggregates import MMLU_CATEGORIES
from puna.evaluate.published.tables import PublishedTable, published_tables
from puna.evaluate.tasks import core_metric


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row that a task measures."""

    task: str
    """The task's id with its shots."""
    metric: str = ""
    """By name; the task's main one where empty."""
    categories: tuple[str, ...] = ()
    """Of these categories together, each document alike; of all documents where empty."""
    note: str = ""
    """In what the published figures were measured differently; empty where nothing is known."""
    instead: str = ""
    """Another task that stands in where the data of `task` is not here; a note says so. Empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """A row that is the mean of others of its sheet, each row alike."""

    rows: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A published table with what fills our column."""

    table: str
    """Its name in `published_tables`."""
    rows: Mapping[str, Measured | Averaged]
    """By the table's row; rows that the source has no figures of may be among them."""
    own: str = ""
    """What our column settles where the source leaves it open, in a sentence."""

    @property
    def published(self) -> PublishedTable:
        """The table of the source."""
        return published_tables()[self.table]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """All tables of one source."""

    name: str
    title: str
    sheets: tuple[Sheet, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of all tasks, each once, in the order of the tables."""
        return tuple(dict.fromkeys(row.task for sheet in self.sheets for row in _measured(sheet)))

    @property
    def instead(self) -> Mapping[str, str]:
        """By the ids of tasks, those that stand in for them where their data is not here."""
        return {row.task: row.instead for sheet in self.sheets for row in _measured(sheet) if row.instead}


def find_suite(name: str) -> Suite:
    """The suite of that name.

    Raises:
        EvaluateError: There is none.
    """
    if name not in suites():
        close = get_close_matches(name, suites(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(suites())}"
        raise EvaluateError(f"{name!r} is not a suite", hint=hint)
    return suites()[name]


@cache
def suites() -> Mapping[str, Suite]:
    """All suites by name."""
    found = (
        Suite(name="llama", title="LLaMA (Touvron et al., 2023)", sheets=tuple(_llama())),
        Suite(name="openllama", title="OpenLLaMA (Geng and Liu, 2023)", sheets=(_openllama(),)),
        Suite(name="openlm", title="OpenLM (Gururangan et al., 2023)", sheets=tuple(_openlm())),
        Suite(name="core", title="CORE (Li et al., 2024)", sheets=(_core(),)),
    )
    return {suite.name: suite for suite in found}


def _measured(sheet: Sheet) -> Iterator[Measured]:
    return (row for row in sheet.rows.values() if isinstance(row, Measured))


def _llama() -> Iterator[Sheet]:
    common_sense = {
        "BoolQ": "boolq", "PIQA": "piqa", "SIQA": "social_iqa", "HellaSwag": "hellaswag", "WinoGrande": "winogrande",
        "ARC-e": "arc_easy", "ARC-c": "arc_challenge", "OBQA": "openbookqa",
    }  # fmt: skip
    yield Sheet(table="llama/3", rows={row: Measured(task=f"llama/{task}@0") for row, task in common_sense.items()})
    for number, task, instead in (4, "nq_open", ""), (5, "triviaqa", "triviaqa_wikipedia"):
        rows = {f"{shots}-shot": _answers(task, instead, shots) for shots in (0, 1, 5, 64)}
        yield Sheet(table=f"llama/{number}", rows=rows)
    schools = {f"RACE-{school}": Measured(task=f"llama/race_{school}@0") for school in ("middle", "high")}
    yield Sheet(table="llama/6", rows=schools)
    yield Sheet(
        table="llama/7",
        rows={
            "MATH": Measured(task="llama/math@4"),
            "MATH + maj1@k": Measured(task="llama/math_majority@4", metric="maj1@256"),
            "GSM8k": Measured(task="llama/gsm8k@8"),
            "GSM8k + maj1@k": Measured(task="llama/gsm8k_majority@8", metric="maj1@100"),
        },
    )
    yield Sheet(
        table="llama/8",
        rows={
            "HumanEval @1": Measured(task="llama/humaneval@0", metric="pass@1"),
            "HumanEval @100": Measured(task="llama/humaneval_100@0", metric="pass@100"),
            "MBPP @1": Measured(task="llama/mbpp@3", metric="pass@1"),
            "MBPP @80": Measured(task="llama/mbpp_80@3", metric="pass@80"),
        },
    )
    yield Sheet(table="llama/9", rows={**_mmlu_categories(), "Average": Measured(task="llama/mmlu@5")})
    prompts = {"Basic": "", "Respectful": "_respectful"}
    yield Sheet(
        table="llama/11",
        rows={
            row: Measured(
                task=f"llama/realtoxicityprompts{kind}@0", instead=f"llama/realtoxicityprompts_nontoxic{kind}@0"
            )
            for row, kind in prompts.items()
        },
        own="Up to 20 tokens are written; the paper does not say how many.",
    )
    yield from _bias()
    truthful = {"Truthful": "truthful", "Truthful*Informative": "truthful_informative"}
    yield Sheet(
        table="llama/14",
        rows={row: Measured(task="llama/truthfulqa@0", metric=metric) for row, metric in truthful.items()},
        own="Answers have up to 50 tokens; the judges of the paper are not to be had.",
    )
    yield Sheet(table="llama/16", rows=_mmlu_subjects())


def _answers(task: str, instead: str, shots: int) -> Measured:
    return Measured(task=f"llama/{task}@{shots}", instead=f"llama/{instead}@{shots}" if instead else "")


def _bias() -> Iterator[Sheet]:
    kinds = {
        "Gender": "gender", "Religion": "religion", "Race/Color": "race-color",
        "Sexual orientation": "sexual-orientation", "Age": "age", "Nationality": "nationality",
        "Disability": "disability", "Physical appearance": "physical-appearance",
        "Socioeconomic status": "socioeconomic",
    }  # fmt: skip
    pairs = {row: Measured(task="llama/crows_pairs@0", categories=(kind,)) for row, kind in kinds.items()}
    yield Sheet(
        table="llama/12", rows={**pairs, "Average": Measured(task="llama/crows_pairs@0")},
        own="Perplexity is per token; the paper does not say.",
    )  # fmt: skip
    sets = ("her/her/she", "his/him/he", "their/them/someone")
    task = "llama/winogender@0"
    yield Sheet(
        table="llama/13",
        rows={
            "All": Measured(task=task),
            **{pronouns: Measured(task=task, categories=(pronouns,)) for pronouns in sets},
            **{
                f"{pronouns} (gotcha)": Measured(task=task, metric="gotcha", categories=(pronouns,))
                for pronouns in sets[:2]
            },
        },
        own="Perplexity is per token; the paper does not say. Gotcha rows are over the benchmark's own sets of 120, "
        "which the published figures fit; by the paper's words they would be sets of 58 and 62 (gotcha_as_worded).",
    )


def _mmlu_categories() -> dict[str, Measured]:
    return {
        category: Measured(task="llama/mmlu@5", categories=subjects) for category, subjects in MMLU_CATEGORIES.items()
    }


def _mmlu_subjects() -> dict[str, Measured]:
    """Table 16: each subject, then the summaries under their names there."""
    summaries = {"Social Sciences": "Social Science", "Other": "Others"}
    by_category = {summaries.get(category, category): measured for category, measured in _mmlu_categories().items()}
    rows = {**by_category, "All": Measured(task="llama/mmlu@5")}
    subjects = [row for row in published_tables()["llama/16"].rows if row not in rows]
    by_subject = {row: Measured(task="llama/mmlu@5", categories=(row.lower().replace(" ", "_"),)) for row in subjects}
    return by_subject | rows


def _openllama() -> Sheet:
    other = {
        f"truthfulqa_mc/{name}": Measured(
            task=f"harness/truthfulqa_{name}@0", instead=f"harness/truthfulqa_csv_{name}@0",
            note="as the task truthfulqa_mc of early 2023",
        )
        for name in ("mc1", "mc2")
    }  # fmt: skip
    rows: dict[str, Measured | Averaged] = {}
    above = [row for row in published_tables()["openllama/1"].rows if row != "Average"]
    for row in above:
        task, _, metric = row.partition("/")
        rows[row] = other.get(row) or Measured(task=f"harness/{task}@0", metric=metric)
    return Sheet(table="openllama/1", rows={**rows, "Average": Averaged(rows=tuple(above))})


def _openlm() -> Iterator[Sheet]:
    tasks = {"MMLU": "mmlu@0", "MMLU-0 shot": "mmlu@0", "Jeopardy": "jeopardy@0", "Winograd": "winograd@0"}
    for name in ("7b", "1b", "7b-training", "1b-training"):
        names = list(published_tables()[f"openlm/{name}"].rows)
        above = names[: names.index("Average")]
        rows: dict[str, Measured | Averaged] = {
            row: Measured(task=f"foundry/{tasks.get(row, f'{row}@0')}") for row in above
        }
        rows["Average"] = Averaged(rows=tuple(above))
        if "MMLU-5 shot" in names:
            rows["MMLU-5 shot"] = Measured(task="foundry/mmlu@5")
        yield Sheet(
            table=f"openlm/{name}", rows=rows,
            own="Delimiters are those of LLM-foundry's own files; which ones the source had is not known.",
        )  # fmt: skip


def _core() -> Sheet:
    rows = {task.title: Measured(task=task.id, metric="centred") for task in core_metric.TASKS}
    return Sheet(table="core/1", rows={**rows, "CORE": Averaged(rows=tuple(rows))})


def rows_beside(task: str, metric: str, *, is_main: bool) -> Iterator[tuple[PublishedTable, str]]:
    """The published rows that a task's figure over all its documents is printed beside, with their tables.

    Args:
        task: The task's id with its shots.
        metric: By name.
        is_main: Whether that is the task's main metric.
    """
    for suite in suites().values():
        for sheet in suite.sheets:
            for row, measured in sheet.rows.items():
                if not isinstance(measured, Measured) or measured.task != task or measured.categories:
                    continue
                if (measured.metric == metric or (is_main and not measured.metric)) and row in sheet.published.rows:
                    yield sheet.published, row

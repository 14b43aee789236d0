"""Benchmarks while a model is trained: the same few documents of each task every time, scored where the model lies.

Nothing of the run depends on it: no weight, no random state, no place in the data. So a run with evaluations has the
bits of one without, and a run that is killed and resumed writes the same figures again. Tasks that score texts can be
evaluated so; those that generate them need the engine, and `puna evaluate` does them afterwards.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from puna.config.recipe import EvaluationConfig
from puna.core.console import warn
from puna.core.errors import EvaluateError
from puna.core.layout import RunDir
from puna.core.schema.evaluation import GOLD, Metric, TaskResult
from puna.core.schema.lines import EvaluationLine
from puna.evaluate.asking import Group, groups, in_order
from puna.evaluate.backends.module import ModuleBackend, can_score
from puna.evaluate.choosing import obstacle
from puna.evaluate.contamination import contamination
from puna.evaluate.documents import Documents, OpenSplit, open_documents
from puna.evaluate.example import Ask, Choose, Continue, Example, Judged, Likelihood, Write
from puna.evaluate.figure import mean_of
from puna.evaluate.registry import find_task
from puna.evaluate.run import Outcome, judge, metric_of, result_of
from puna.evaluate.store import Cost
from puna.evaluate.task import Task
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.session import Listener, Session
from puna.train.session import Outcome as StepOutcome


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A task with what is asked in every evaluation of a run."""

    documents: Documents
    examples: tuple[Example, ...]
    """In the order of the split."""
    split_sha256: str
    """Of the split that is asked about, by which a data card says what its text was compared with."""


def prepare(config: EvaluationConfig, open_split: OpenSplit) -> Callable[[Session, Tokenizer], Listener]:
    """What makes the evaluating listener of a session; the tasks are chosen and read now, before the first step.

    Args:
        config: The recipe's section.
        open_split: Opens the data.

    Raises:
        EvaluateError: There is no such task, it generates texts, or its data is not here or damaged.
    """
    chosen = [_chosen(task, config, open_split) for task in _tasks(config, open_split)]

    def listener(session: Session, tokenizer: Tokenizer) -> Listener:
        if can_score(session.mesh):
            return Evaluations(config, chosen, tokenizer)
        if session.world.main:
            warn(
                "no benchmarks are evaluated while parallel.tensor or parallel.context is above 1: no device then has "
                "whole sequences and the whole vocabulary; `puna evaluate RUN --all-checkpoints` evaluates the saved "
                "steps"
            )
        return Listener()

    return listener


@dataclass
class Evaluations(Listener):
    """Evaluates a session's model at intervals, and at the end; one that is tuned before the first step, too."""

    config: EvaluationConfig
    chosen: Sequence[Chosen]
    tokenizer: Tokenizer
    _groups: dict[str, Group] = field(default_factory=dict)
    """What is asked in token ids, by task, from the first evaluation on."""

    def began(self, session: Session) -> None:
        """Evaluate the model that a new run of instruction tuning begins with."""
        if session.recipe.finetune is not None and session.state.step == 0:
            self.evaluate(session)

    def stepped(self, session: Session, outcome: StepOutcome) -> None:
        """Evaluate if it is due."""
        if session.is_due(self.config.every_steps):
            self.evaluate(session)

    def ended(self, session: Session) -> None:
        """Evaluate once more."""
        self.evaluate(session)

    def evaluate(self, session: Session) -> None:
        """Ask all tasks and record their results."""
        if not self.chosen:
            return
        session.settle()
        began = time.perf_counter()
        backend = ModuleBackend(
            session.objective, self.tokenizer, session.world,
            tokens_per_pass=session.recipe.train.micro_batch_tokens,
        )  # fmt: skip
        run = None if session.saver is None else session.saver.run
        results = [session.agreed(lambda: self._result(one, backend, run)) for one in self.chosen]  # noqa: B023 (called at once)
        session.record(EvaluationLine, tasks=results, seconds=time.perf_counter() - began)
        session.say(f"step {session.state.step}: {described(results)}")

    def _result(self, chosen: Chosen, backend: ModuleBackend, run: RunDir | None) -> TaskResult:
        task, began = chosen.documents.task, time.perf_counter()
        if task.id not in self._groups:
            # One group: the backend makes batches of it by length.
            examples = in_order(chosen.examples)
            (self._groups[task.id],) = groups(examples, backend, task.protocol.join, tokens=sys.maxsize)
        group = self._groups[task.id]
        answers, cost = group.answers(backend)
        by_id = {
            asked.example.id: judge(task, asked.example, answer)
            for asked, answer in zip(group.asked, answers, strict=True)
        }
        judged = [by_id[example.id] for example in chosen.examples]
        cost = Cost(seconds=time.perf_counter() - began, requests=cost.requests, tokens_read=cost.tokens_read)
        seed = self.config.seed if chosen.documents.n < chosen.documents.of else None
        result = result_of(
            chosen.documents, Outcome(judged=judged, cost=cost), backend, limit_seed=seed,
            contamination=contamination(run, chosen.split_sha256),
        )  # fmt: skip
        # Means of a handful of documents each say nothing, and would be most of the line.
        return result.model_copy(update={"metrics": result.metrics | gold(judged), "categories": {}})


def gold(judged: Sequence[Judged]) -> dict[str, Metric]:
    """The bits per byte of the right answers, the mean over documents; empty of tasks that have none."""
    bits = [gold_bits(one.example.ask, one.answer.likelihoods) for one in judged]
    return {GOLD: metric_of(mean_of(bits))} if any(value is not None for value in bits) else {}


def gold_bits(ask: Ask, likelihoods: Sequence[Likelihood]) -> float | None:
    """The surprise at a document's right answer in bits per byte of its text, of several their mean.

    The bytes are those of the answer in UTF-8 without the space or line break that sets it off. None where the document
    has no right answer, or it is empty.
    """
    match ask:
        case Choose():
            pairs = [(ask.options[place].text, likelihoods[place]) for place in ask.gold]
        case Continue():
            pairs = [(ask.text, likelihoods[0])]
        case _:
            return None
    bits = [-likelihood.logprob / math.log(2) / len(text.encode()) for text, likelihood in pairs if text]
    return math.fsum(bits) / len(bits) if bits and all(map(math.isfinite, bits)) else None


def described(results: Sequence[TaskResult]) -> str:
    """The main figures in one line: `harness/piqa@0 acc_norm 0.560 ± 0.098`."""
    parts = []
    for result in results:
        name, metric = result.main
        value = "not measured" if metric.value is None else f"{metric.value:.3f}"
        if metric.value is not None and metric.high is not None:
            value += f" ± {metric.high - metric.value:.3f}"
        parts.append(f"{result.id} {name} {value}")
    return ", ".join(parts)


def _tasks(config: EvaluationConfig, open_split: OpenSplit) -> list[Task]:
    """The tasks whose data is here.

    Raises:
        EvaluateError: There is no such task; or data is not here, and must be.
    """
    found = list({task.id: task for task in map(find_task, config.tasks)}.values())
    here = []
    for task in found:
        if task.needs_code:
            raise _generates(task)
        if not (reason := obstacle(task, open_split, allow_code=False)):
            here.append(task)
        elif config.missing == "skip":
            warn(f"{task.id} is not evaluated during training: {reason}")
        else:
            hint = 'evaluation.missing = "skip" leaves out what is not here'
            raise EvaluateError(f"evaluation.tasks: {task.id}: {reason}", hint=hint)
    return here


def _chosen(task: Task, config: EvaluationConfig, open_split: OpenSplit) -> Chosen:
    documents = open_documents(task, open_split, limit=config.documents, seed=config.seed)
    examples = tuple(documents.examples())
    if any(isinstance(example.ask, Write) for example in examples):
        raise _generates(task)
    return Chosen(documents=documents, examples=examples, split_sha256=open_split(task.data, task.split).sha256)


def _generates(task: Task) -> EvaluateError:
    return EvaluateError(
        f"evaluation.tasks: {task.id} generates texts, and training only scores them",
        hint=f"`puna evaluate RUN --all-checkpoints --tasks {task.id}` evaluates the saved steps afterwards",
    )

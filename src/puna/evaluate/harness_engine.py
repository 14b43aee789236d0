"""lm-evaluation-harness as engine: its tasks, prompts and metrics, with a model of Puna in the same process.

It knows thousands of tasks that Puna does not have. Its results have the protocol `lm-eval`, a figure for each metric
as it computes it, and the same lines for each document as Puna's own, so that pages, tables and comparisons read them.
Figures that are means of documents have a standard error; others none, since the harness draws them by bootstrap.

Tasks that run programs are refused: the harness runs them without a sandbox.
"""

import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from puna.core.console import say
from puna.core.errors import EvaluateError
from puna.core.files import sha256_json
from puna.core.schema.evaluation import Cut, Metric, TaskResult
from puna.evaluate.backend import Backend
from puna.evaluate.documents import OpenSplit
from puna.evaluate.example import Answer, Ask, Choose, Continue, Example, Judged, Option, Read
from puna.evaluate.figure import mean_of
from puna.evaluate.harness_tasks import Data, load_tasks, task_split
from puna.evaluate.run import cut_of, metric_of
from puna.evaluate.store import Cost

if TYPE_CHECKING:
    from puna.evaluate.harness_model import HarnessModel

NAME = "lm-eval"
SEED = 1234
"""Draws solved examples: the harness's own default."""
_ANY = "none"
"""The harness's name of a filter that leaves answers as they are."""


@dataclass(frozen=True, kw_only=True)
class HarnessOutcome:
    """What comes of one task."""

    result: TaskResult
    judged: Sequence[Judged]
    """Its documents, in the order of the split; none of a group."""
    cost: Cost


def run_harness(
    names: Sequence[str], backend: Backend, open_split: OpenSplit, *, shots: int | None = None, limit: int | None = None
) -> list[HarnessOutcome]:
    """Evaluate a model by lm-evaluation-harness.

    Args:
        names: Its tasks, groups and tags, and YAML files of one's own.
        backend: What answers.
        open_split: Opens local data.
        shots: Solved examples; None takes each task's own number. Tasks that say 0 keep that, as in the harness.
        limit: Documents of each task at most, the first ones, as the harness takes them.

    Returns:
        An outcome for each task, and behind them one for each group.

    Raises:
        EvaluateError: There is no such task, its data cannot be had, or it runs programs.
        UserError: lm_eval is not installed; or what the backend raises.
    """
    random.seed(0)  # some tasks shuffle as they are made, by the harness's own seed
    data = Data(open_split=open_split, shots=shots)
    loaded = load_tasks(names, data)
    from lm_eval.evaluator import evaluate

    from puna.evaluate.harness_model import HarnessModel

    tasks = loaded["tasks"]
    for task in tasks.values():
        _prepare(task, shots)
    model = HarnessModel(backend)
    began = time.perf_counter()
    found = evaluate(lm=model, task_dict=loaded, limit=limit, bootstrap_iters=0, log_samples=True)
    if found is None:
        raise EvaluateError("lm-eval gives results to its first process alone", hint="run it without torchrun")
    each = (time.perf_counter() - began) / max(1, sum(len(found["samples"][name]) for name in tasks))
    outcomes = [_outcome(task, found, model, data, each) for task in tasks.values()]
    for outcome in outcomes:
        of = outcome.result
        version = found["versions"].get(of.title)
        say(f"{of.id}: {of.n:,} documents, task version {version}, data {of.data_sha256}")
    return outcomes + [_of_group(group, found, outcomes) for group in loaded.get("groups", {}).values()]


def _prepare(task: Any, shots: int | None) -> None:
    """The number of solved examples as the harness sets it, and the seed that draws them."""
    if getattr(task, "UNSAFE_CODE", False):
        raise EvaluateError(
            f"lm-eval task {task.task_name}: its answers are programs, which lm-eval runs without a sandbox",
            hint="Puna's own tasks run them in one; `puna evaluate --list` names them",
        )
    own = task.get_config("num_fewshot")
    if own is None or (shots is not None and own != 0):
        task.set_config(key="num_fewshot", value=shots or 0)
    task.set_fewshot_seed(seed=SEED)


def _outcome(task: Any, found: Mapping[str, Any], model: "HarnessModel", data: Data, each: float) -> HarnessOutcome:
    """The figures and documents of a task; `each` is the seconds that a document took."""
    name, config = task.task_name, task.config
    by_document: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in found["samples"][name]:
        by_document[sample["doc_id"]].append(sample)
    judged = [_judged(task, samples, model) for samples in by_document.values()]
    asked = [tuple(arguments) for samples in by_document.values() for arguments in samples[0]["arguments"]]
    opened = data.opened.get((config.dataset_path, config.dataset_name or ""), {}).get(task_split(config))
    documents = [samples[0]["doc"] for samples in by_document.values()]
    shots = int(config.num_fewshot or 0)
    cost = Cost(
        seconds=round(each * len(judged), 3), requests=len(asked), tokens_read=sum(model.size(one) for one in asked)
    )
    result = TaskResult(
        id=f"{NAME}/{name}@{shots}", title=name, protocol=f"{NAME} {version('lm_eval')}", protocol_version=1,
        task_version=_number(found["versions"].get(name)), data=config.dataset_path or name, split=task_split(config),
        data_sha256=opened.sha256 if opened else sha256_json(documents), licence=opened.licence if opened else "",
        shots=shots, bos="one" if model.puna.tokenizer.add_bos else "none", n=len(judged), of=len(task.task_docs),
        metrics=_metrics(task, found["results"][name], judged), cut=cut_of(judged),
        moved=sum(one.moved for each in judged for one in each.answer.likelihoods), **cost.as_dict(),
    )  # fmt: skip
    return HarnessOutcome(result=result, judged=judged, cost=cost)


def _judged(task: Any, samples: Sequence[Mapping[str, Any]], model: "HarnessModel") -> Judged:
    """A document: what the harness asked, the answers, and its values, of several filters each under its own name."""
    first = samples[0]
    requests = [tuple(arguments) for arguments in first["arguments"]]
    values, shown = {}, {}
    for sample in samples:
        for metric in sample["metrics"]:
            name = metric if sample["filter"] == _ANY else f"{metric},{sample['filter']}"
            if isinstance(sample[metric], int | float):  # NumPy's float64 is a float
                values[name] = float(sample[metric])
        if sample["filter"] != _ANY:
            shown[sample["filter"]] = str(sample["filtered_resps"])
    ask, answer = _asked(task, first, requests, model)
    facts = {} if isinstance(ask, Choose) else {"target": str(first["target"])}
    example = Example(id=str(first["doc_id"]), ask=ask, facts=facts)
    return Judged(example=example, answer=answer, values=values, shown=shown)


def _asked(
    task: Any, sample: Mapping[str, Any], requests: Sequence[tuple[Any, ...]], model: "HarnessModel"
) -> tuple[Ask, Answer]:
    """The harness's requests in Puna's terms, with the answers."""
    match task.OUTPUT_TYPE:
        case "generate_until":
            prompt, options = requests[0]
            from puna.evaluate.harness_model import write_of

            ask = write_of(prompt, options, seed=0)
            n = len(sample["resps"][0])
            written, model.written[prompt] = model.written[prompt][:n], model.written[prompt][n:]
            return replace(ask, n=n), Answer(written=tuple(written))
        case "loglikelihood_rolling":
            texts = tuple(text for (text,) in requests)
            return Read(texts=texts), Answer(likelihoods=tuple(model.wholes[text] for text in texts))
        case "loglikelihood":
            ((context, target),) = requests
            ask = Continue(context=context, target=target, text=target.strip())
            return ask, Answer(likelihoods=(model.likelihoods[context, target],))
    options = tuple(Option(context=context, continuation=text, text=text.strip()) for context, text in requests)
    likelihoods = tuple(model.likelihoods[request] for request in requests)
    return Choose(options=options, gold=_gold(task, sample, options)), Answer(likelihoods=likelihoods)


def _gold(task: Any, sample: Mapping[str, Any], options: Sequence[Option]) -> tuple[int, ...]:
    """The places of the right options, as far as the harness's task says them."""
    target = task.doc_to_text(sample["doc"]) if task.multiple_input else sample["target"]
    places = []
    for one in target if isinstance(target, list) else [target]:
        if isinstance(one, int):
            places.append(one)
        else:
            places += [place for place, option in enumerate(options) if option.text == str(one).strip()][:1]
    return tuple(place for place in places if 0 <= place < len(options))


def _metrics(task: Any, found: Mapping[str, Any], judged: Sequence[Judged]) -> dict[str, Metric]:
    """The harness's figures; those that are means of the documents' values with their uncertainty."""
    from lm_eval.api.metrics import mean

    figures = {}
    for key, value in found.items():
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        name = metric if filtered == _ANY else key
        values = [document.values[name] for document in judged if name in document.values]
        if task.aggregation().get(metric) is mean and len(values) == len(judged):
            figures[name] = metric_of(mean_of(values))
        else:
            figures[name] = Metric(value=float(value), n=len(judged))
    return figures


def _of_group(group: Any, found: Mapping[str, Any], outcomes: Sequence[HarnessOutcome]) -> HarnessOutcome:
    """A group's figures, as the harness weights them, over the documents of all its tasks."""
    names = {task.task_name for task in group.get_all_tasks()}
    parts = [outcome.result for outcome in outcomes if outcome.result.title in names]
    n = sum(part.n for part in parts)
    figures = {
        key.removesuffix(f",{_ANY}"): Metric(value=float(value), n=n)
        for key, value in found["results"].get(group.name, {}).items()
        if "," in key and "_stderr," not in key and isinstance(value, int | float)
    }
    cost = Cost()
    for part in parts:
        cost.add(Cost(seconds=part.seconds, requests=part.requests, tokens_read=part.tokens_read))
    result = parts[0].model_copy(
        update={
            "id": f"{NAME}/{group.name}@{parts[0].shots}", "title": group.name, "data": f"{len(parts)} tasks",
            "data_sha256": sha256_json([part.data_sha256 for part in parts]), "n": n, "metrics": figures,
            "of": sum(part.of for part in parts), "moved": sum(part.moved for part in parts),
            "cut": Cut(
                documents=sum(part.cut.documents for part in parts), tokens=sum(part.cut.tokens for part in parts)
            ),
        } | cost.as_dict()
    )  # fmt: skip
    return HarnessOutcome(result=result, judged=(), cost=cost)


def _number(version: object) -> int:
    """A task's version as a whole number; 0 where it has none."""
    try:
        return int(float(str(version)))
    except ValueError:
        return 0

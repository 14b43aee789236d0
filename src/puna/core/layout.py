"""The layout of the directories through which stages exchange files.

```
data/demo/                    one data build (DataDir)
  config.toml                 the resolved recipe that reproduces it
  documents/                  cleaned documents per source and split, and what was dropped
  work/                       intermediate results by stage and task; may be deleted when the build is done
  tokenizer/                  tokenizer.model (SentencePiece only), tokenizer.json, record.json
  shards/<source>/<split>/    token ids, index, origins, manifest.json
  index/<source>/<split>/     where each text is: the order of the suffixes of each shard (`puna data index`)
  card.json  .md  .html       the data card
  record.json                 how the build came to be

runs/demo/                    one training run (RunDir): the unit that people move, inspect and delete
  config.toml  record.json    the resolved recipe; how the run came to be
  data_card.json              a copy of the card of its data
  metrics.jsonl               one JSON object per session, logged step, validation, sample, …
  tensorboard/                the same numbers for TensorBoard
  tokenizer/                  the tokenizer's file, so that every checkpoint is a model that takes text
  checkpoints/step-00000100/  the training state of a step, from which `train` goes on
  examples/                   of a run that is tuned: its examples as token ids with the mask of what is learned
  next-examples/              the same of the run that is to take this one's place, until it does
  tuning.json                 of such a run: what it learns from, counted
  model/                      the plain model: model.safetensors, model.toml, the tokenizer's file, record.json
  adapter/                    of a run with low-rank updates: these alone, in PEFT's format
  exports/hf/                 one directory per format, each with equivalence.json
  evaluations/step-00000100/  one directory per moment that was evaluated
  report.html
  chat/                       a run of its own, in which the finished model has learned to chat (`chat_recipe`)
  .lock                       held by the process that trains

evaluations/NAME/             one evaluation (EvaluationDir), of a run's moment in RUN/evaluations/
  results.json                every figure, with what decides whether others can be compared with it
  documents/                  PROTOCOL-TASK-SHOTS.jsonl: each document with its answer and what that is worth
  tables.md  tables.tex       the tables of the papers with our column
  index.html                  the same as a page, with every document
  .eval_results/              for Hugging Face's hub, a file per task
  model-index.yaml            the same in the hub's older form
  record.json                 how the evaluation came to be; written last
```
"""

import os
from dataclasses import dataclass
from pathlib import Path


def user_cache() -> Path:
    """The directory of what Puna keeps for this user and can make again, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "puna"


@dataclass(frozen=True)
class _Directory:
    """A directory with named paths, which is a path itself, of its root."""

    root: Path

    def __fspath__(self) -> str:
        return str(self.root)

    def __str__(self) -> str:
        return str(self.root)


@dataclass(frozen=True)
class DataDir(_Directory):
    """The paths of one data build; it is a path itself, of its root."""

    root: Path

    @property
    def documents(self) -> Path:
        """Cleaned documents and the list of what was dropped."""
        return self.root / "documents"

    @property
    def work(self) -> Path:
        """Intermediate results of the build's tasks; they make the next build of a changed recipe short."""
        return self.root / "work"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's directory."""
        return self.root / "tokenizer"

    @property
    def shards(self) -> Path:
        """Token shards: one directory per source, one below it per split."""
        return self.root / "shards"

    @property
    def index(self) -> Path:
        """The index of all text, by source and split as the shards are."""
        return self.root / "index"

    @property
    def card(self) -> Path:
        """The data card as JSON; `card.md` lies beside it."""
        return self.root / "card.json"

    @property
    def config(self) -> Path:
        """The resolved recipe."""
        return self.root / "config.toml"

    @property
    def record(self) -> Path:
        """The record of the whole build."""
        return self.root / "record.json"


@dataclass(frozen=True)
class RunDir(_Directory):
    """The paths of one training run; it is a path itself, of its root."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved recipe."""
        return self.root / "config.toml"

    @property
    def record(self) -> Path:
        """The record of the training run."""
        return self.root / "record.json"

    @property
    def metrics(self) -> Path:
        """Metrics, validations and samples as JSON lines."""
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Training states by step."""
        return self.root / "checkpoints"

    @property
    def tokenizer(self) -> Path:
        """The directory of the tokenizer's file."""
        return self.root / "tokenizer"

    @property
    def examples(self) -> Path:
        """Of a run that is tuned: its examples as token ids, and what is computed from them once."""
        return self.root / "examples"

    @property
    def next_examples(self) -> Path:
        """The same of a run that takes the place of the one that is there, until it does."""
        return self.root / "next-examples"

    @property
    def tuning(self) -> Path:
        """Of a run that is tuned: what it learns from, counted."""
        return self.root / "tuning.json"

    @property
    def adapter(self) -> Path:
        """Of a run with low-rank updates: these alone, in PEFT's format."""
        return self.root / "adapter"

    @property
    def model(self) -> Path:
        """The plain model's directory."""
        return self.root / "model"

    @property
    def chat(self) -> "RunDir":
        """The run in which the finished model has learned to chat, by the recipe's `chat_recipe`."""
        return RunDir(self.root / "chat")

    @property
    def command(self) -> str:
        """The command that goes on with it: `finetune` where it learns from examples, else `train`."""
        return "finetune" if self.examples.is_dir() else "train"

    @property
    def has_model(self) -> bool:
        """Whether the plain model is there, which a finished run leaves."""
        return (self.model / "model.toml").is_file()

    @property
    def data_card(self) -> Path:
        """A copy of the card of the data that the run was trained on."""
        return self.root / "data_card.json"

    @property
    def exports(self) -> Path:
        """One directory per export format."""
        return self.root / "exports"

    @property
    def evaluations(self) -> Path:
        """One directory per evaluation, `EvaluationDir`; those of moments are called `step-NNNNNNNN`."""
        return self.root / "evaluations"

    @property
    def report(self) -> Path:
        """The report, an HTML page."""
        return self.root / "report.html"


@dataclass(frozen=True)
class EvaluationDir(_Directory):
    """The paths of one evaluation; it is a path itself, of its root."""

    root: Path

    @property
    def results(self) -> Path:
        """All figures as JSON (`puna.core.schema.evaluation.Results`)."""
        return self.root / "results.json"

    @property
    def documents(self) -> Path:
        """The directory of documents with their answers, a file per task."""
        return self.root / "documents"

    def documents_of(self, task: str) -> Path:
        """The documents of a task: `llama/mmlu@5` is `llama-mmlu-5.jsonl`."""
        return self.documents / f"{task.replace('/', '-').replace('@', '-')}.jsonl"

    @property
    def tables_markdown(self) -> Path:
        """The tables in Markdown."""
        return self.root / "tables.md"

    @property
    def tables_latex(self) -> Path:
        """The tables in LaTeX."""
        return self.root / "tables.tex"

    @property
    def page(self) -> Path:
        """One page with tables and all documents, which works offline."""
        return self.root / "index.html"

    @property
    def hub_results(self) -> Path:
        """The directory of results for Hugging Face's hub."""
        return self.root / ".eval_results"

    @property
    def model_index(self) -> Path:
        """The results as the hub's model cards had them before."""
        return self.root / "model-index.yaml"

    @property
    def record(self) -> Path:
        """How the evaluation came to be; its presence means that it is finished."""
        return self.root / "record.json"

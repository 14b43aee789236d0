"""Instruction tuning: a model that is there learns from the examples of a data build.

The examples are written into the run as tokens once (`puna.finetune.tokens`), packed by a plan of the whole run
(`puna.finetune.plan`), and read by number; all else is as in pre-training (`puna.train.job`).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import ConfigError
from puna.core.files import sha256_json, write_json, write_text
from puna.core.layout import DataDir, RunDir
from puna.core.lock import DirectoryLock
from puna.core.units import counted
from puna.finetune.begin import Base, begin_with
from puna.finetune.build import documents_of, dropped_by
from puna.finetune.chat_samples import chat_sampler, check_chat_prompts
from puna.finetune.describe import learned_parameters, tuning_record
from puna.finetune.examples import SourceExample, read_examples
from puna.finetune.feed import ExampleFeed
from puna.finetune.heldout import Heldout
from puna.finetune.leave import leave
from puna.finetune.pairs import Preferences
from puna.finetune.plan import Plan, derived, few_steps
from puna.finetune.show import show_batch
from puna.finetune.token_files import Examples, read_manifest
from puna.finetune.tokens import announce, is_written, prepare
from puna.parallel.mesh import Mesh
from puna.parallel.world import World
from puna.plan.count import parameters
from puna.shards.card import card_json, read_card
from puna.shards.split import HELDOUT, TRAIN
from puna.tokenizer.chat_template import CHAT_TEMPLATE
from puna.train.job import Found
from puna.train.samples import Samples
from puna.train.session import Listener, Session
from puna.train.validate import Validation


class Tuning:
    """The job of instruction tuning (`puna.train.job.Job`).

    Args:
        recipe: What is tuned, with the shape of the model that it begins with.
        data: The data build with its examples.
        base: The model that it begins with: its tokenizer, the chat template, and its weights where they are in
            another format than Puna's own.
        kept: Whether the examples that the run has will do where the data build is gone.
    """

    def __init__(self, recipe: Recipe, data: DataDir, base: Base, *, kept: bool) -> None:
        self.recipe, self.tokenizer = recipe, base.tokenizer
        self._data, self._base, self._kept = data, base, kept
        self.plan: Plan
        """Which examples make which packs, from `open` on."""
        self._documents: str
        self._heldout: Heldout | Preferences
        self._examples_heldout: Examples
        self._learned: int

    @property
    def final(self) -> Validation:
        """The last validation, on all held-out examples."""
        return self._heldout.final

    def look(self, run: RunDir, world: World) -> str:
        """Build the data where that is not done; returns the fingerprint of the examples and of how they are told."""
        world.first(lambda: check_chat_prompts(self.recipe, self._base.template))
        self._documents = world.first(lambda: documents_of(self.recipe, self._data, run, kept=self._kept))
        return sha256_json([self._documents, self._base.template.source, self.tokenizer.sha256])

    def open(self, run: RunDir, world: World, *, aside: bool) -> Recipe:
        """Write the examples down as tokens, where that is not done; returns the recipe with the length of the run."""
        recipe, out = self.recipe, run.next_examples if aside else run.examples
        manifest = world.first(
            lambda: prepare(
                recipe, self._base.template.source, self.tokenizer, self._examples, out, data=self._documents
            )
        )
        if world.main:
            for line in dropped_by(self._data):
                say(line)
            announce(manifest)
        self.plan = Plan(self._opened(out, TRAIN, world), recipe)
        self.recipe = derived(recipe, self.plan)
        if world.main:
            self._say_length(world.size)
        self._examples_heldout = self._opened(out, HELDOUT, world)
        return self.recipe

    def moved(self, run: RunDir) -> None:
        """Read the examples from the run's own directory."""
        for examples in (self.plan.examples, self._examples_heldout):
            examples.moved(run.examples)

    def shown(self, run: RunDir, *, number: int, sequences: int | None, colours: bool) -> str:
        """A batch as people read it (`puna.finetune.show`); the examples are written where the run will find them.

        Args:
            run: The run's directory; where a run with other settings has begun, a temporary one takes its place.
            number: The number of the batch.
            sequences: How many of its sequences are shown; None is all.
            colours: Whether tokens are coloured for a terminal.
        """
        world = World(0, 1, torch.device("cpu"), None)
        self.look(run, world)
        there = is_written(self.recipe, self._base.template.source, self.tokenizer, run.examples, data=self._documents)
        with TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            place = RunDir(Path(folder)) if run.config.exists() and not there else run
            if not there:  # else nothing is written, and the run may be at work
                stack.enter_context(DirectoryLock(place.root))
            recipe = self.open(place, world, aside=False)
            if number >= recipe.total_steps:
                raise ConfigError(
                    [f"--batch {number}: the run has {counted(recipe.total_steps, 'batch', 'batches')}, from 0 on"]
                )
            feed = ExampleFeed(self.plan, recipe, self.tokenizer)
            return show_batch(feed, self.tokenizer, number=number, sequences=sequences, colours=colours)

    def session(self, recipe: Recipe, run: RunDir, world: World, mesh: Mesh, found: Found) -> Session:
        """The session of the recipe, on the model with what learns in it."""
        if world.main and recipe.train.compile and world.device.type == "cpu":
            say("the first steps wait for the compiler; train.compile=false spares a short run that")
        feed = ExampleFeed(self.plan, recipe, self.tokenizer)
        session, objective = begin_with(recipe, run, feed, self._base, world=world, mesh=mesh, found=found)
        self._learned = learned_parameters(session)
        heldout = self._examples_heldout
        if objective is None:
            self._heldout = Heldout(heldout, self.tokenizer, recipe)
        else:
            self._heldout = Preferences(
                objective, self.plan.examples, heldout, self.tokenizer, recipe, run.examples / "reference"
            )
        return session

    def describe(self, run: RunDir) -> None:
        """Copy the card of the data, and the chat template; write down what the run learns from."""
        if self._data.card.is_file():
            write_json(run.data_card, card_json(read_card(self._data)))
        write_text(run.tokenizer / CHAT_TEMPLATE, self._base.template.source)
        recipe = self.recipe
        record = tuning_record(
            self._base, self.plan, read_manifest(run.examples), learned=self._learned,
            sequences=recipe.total_tokens // recipe.model.context, model=parameters(recipe.model).total,
        )  # fmt: skip
        write_json(run.tuning, record.as_dict())

    def listeners(self, session: Session) -> list[Listener]:
        """Validation on held-out examples or pairs, and answers to the prompts; both before the first step, too."""
        samples = self.recipe.samples
        sample = chat_sampler(self._base.template, samples)
        return [self._heldout, Samples(samples, self.tokenizer, self.recipe.seed, sample, before=True)]

    def save(self, session: Session, run: RunDir, inputs: dict[str, str]) -> dict[str, str]:
        """Write the model with its tokenizer and chat template, and the adapter of a run that has one."""
        return leave(session, run, self._base, inputs)

    def _examples(self, split: str) -> Iterator[SourceExample]:
        return read_examples(self._data, split)

    def _opened(self, directory: Path, split: str, world: World) -> Examples:
        names = list(self.recipe.mixture)
        # The main process has looked at every file before the others open them.
        world.first(lambda: Examples.open(directory, split, names, verify=True).total)
        return Examples.open(directory, split, names)

    def _say_length(self, devices: int) -> None:
        recipe, rows = self.recipe, self.recipe.train.batch_tokens // self.recipe.model.context
        packs = recipe.total_steps * rows
        read = int(self.plan.read(packs).examples.sum())
        steps, sequences = counted(recipe.total_steps, "step"), counted(rows, "sequence")
        say(
            f"{steps} of {sequences} read {counted(read, 'example')}, "
            f"{read / sum(self.plan.mixing.in_epoch.values()):.2f} epochs; {self.plan.filled(packs):.1%} of their "
            "positions hold tokens"
        )
        if found := few_steps(recipe, self.plan, devices):
            warn(found)

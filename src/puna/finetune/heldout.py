"""Loss on the answers of held-out examples, per source, before the first step, at intervals and at the end.

The examples are packed like those of training, and only what training learns is scored. Bits per byte are the nats of
these tokens, those that end answers included, over ln 2 and the bytes of the answers' text in UTF-8.
"""

import math
import time

import numpy as np
import torch
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.core.console import progress
from puna.finetune.feed import padding_of
from puna.finetune.measured import of_source, own_batches, packs_of
from puna.finetune.packing import WINDOW
from puna.finetune.token_files import Examples
from puna.parallel.apply import reshard
from puna.shards.heldout import IGNORE
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.session import Listener, Outcome, Session
from puna.train.validate import Validation, record_validation


class Heldout(Listener):
    """Validates a session's model on held-out conversations.

    Args:
        examples: The held-out ones; sources that have none are not validated.
        tokenizer: The model's.
        recipe: Decides how often, and on how many tokens.
    """

    def __init__(self, examples: Examples, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self.final = Validation({}, {})
        """The results of the last validation, on all held-out examples; empty until the run has ended."""
        self._examples, self._recipe = examples, recipe
        self._bytes = np.array([len(text) for text in tokenizer.token_bytes()], np.int64)
        self._padding = padding_of(tokenizer)
        tuning = recipe.finetune
        self._together = tuning is None or tuning.pack

    def began(self, session: Session) -> None:
        """Validate the model that a new run begins with, on all held-out examples."""
        if session.state.step == 0:
            self._validate(session, final=False, limit=None)

    def stepped(self, session: Session, outcome: Outcome) -> None:
        """Validate if it is due."""
        if session.is_due(self._recipe.validation.every_steps):
            self._validate(session, final=False, limit=self._recipe.validation.tokens)

    def ended(self, session: Session) -> None:
        """Validate on all held-out examples."""
        self.final = self._validate(session, final=True, limit=None)

    def _validate(self, session: Session, *, final: bool, limit: int | None) -> Validation:
        if not self._examples.total:
            return Validation({}, {})
        session.settle()
        started = time.perf_counter()
        result = self.measure(session, limit)
        record_validation(session, result, started, final=final)
        figures = ", ".join(f"{source} {loss:.3f}" for source, loss in result.loss.items())
        session.say(f"step {session.state.step}: loss on held-out answers: {figures}")
        return result

    def measure(self, session: Session, limit: int | None = None) -> Validation:
        """Loss and bits per byte by source; all processes get the same."""
        objective, world = session.objective, session.world
        mesh = objective.mesh
        loss, bits = {}, {}
        for source in self._examples.names:
            packs = self.packs(source, limit)
            if not packs:
                continue
            bar = progress(f"validate {source}", len(packs), "sequences", visible=world.main)
            sums = torch.zeros(3, dtype=torch.float64, device=world.device)  # nats, targets, bytes
            with torch.compiler.set_stance("force_eager"), objective.passes(), bar as advance:
                for batch in own_batches(session, self._examples, packs, self._padding):
                    if not session.state.step:
                        session.leave_if_asked()
                    losses_BP = objective.measure(batch.sent(world.device))
                    scored = batch.targets_BT[batch.targets_BT != IGNORE]
                    sums[0] += losses_BP.double().sum() * mesh.context
                    sums[1] += len(scored)
                    sums[2] += int(self._bytes[scored].sum())
                    advance(len(batch.targets_BT) * mesh.batches)
            nats, targets, n_bytes = (world.sum(sums) / (mesh.context * mesh.tensor)).tolist()
            loss[source] = nats / targets
            if n_bytes:
                bits[source] = nats / math.log(2) / n_bytes
        reshard(objective.model)
        return Validation(loss, bits)

    def packs(self, source: str, limit: int | None) -> list[NDArray[np.int64]]:
        """A source's packs: of all its examples, or of some spread evenly that have about `limit` tokens."""
        numbers = of_source(self._examples, self._examples.names.index(source), limit)
        windows = (numbers[first : first + WINDOW] for first in range(0, len(numbers), WINDOW))
        context = self._recipe.model.context
        return [one for part in windows for one in packs_of(self._examples, part, context, together=self._together)]

"""What a run on pairs does besides its steps: the reference first, then how well answers are told apart as it goes.

Axes: E pairs   F figures   S sources
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from puna.config.recipe import Recipe
from puna.core.console import progress
from puna.core.schema.lines import Line, PreferenceFigures, PreferenceLine, RollbackLine, TrainLine
from puna.finetune.feed import padding_of
from puna.finetune.measured import own_batches, packs_of, spread
from puna.finetune.packing import WINDOW
from puna.finetune.preferences import FIGURES, PairTable, PreferenceObjective
from puna.finetune.reference import reference_of
from puna.finetune.token_files import Examples
from puna.parallel.apply import reshard
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.session import Listener, Outcome, Session
from puna.train.validate import Validation, record_validation


class Preferences(Listener):
    """Gives the objective its reference, tells how pairs are told apart in training, and validates on held-out pairs.

    Args:
        objective: By which the session learns.
        train: The pairs that it learns from.
        heldout: Those that it is validated on; sources that have none are not.
        tokenizer: The model's.
        recipe: Decides how often it is validated, and on how many tokens.
        directory: Where what the reference model says is kept.
    """

    def __init__(
        self, objective: PreferenceObjective, train: Examples, heldout: Examples, tokenizer: Tokenizer, recipe: Recipe,
        directory: Path,
    ) -> None:  # fmt: skip
        self.final = Validation({}, {})
        """The losses of the last validation, on all held-out pairs; empty until the run has ended."""
        self._objective, self._train, self._heldout, self._recipe = objective, train, heldout, recipe
        self._padding, self._directory = padding_of(tokenizer), directory
        self._sums_FS: Tensor | None = None
        self._table: PairTable

    def began(self, session: Session) -> None:
        """Ask the reference model, and validate the model that a new run begins with."""
        self._objective.table = self._table_of(session, self._train, "train")
        self._table = self._table_of(session, self._heldout, "heldout")
        if session.state.step == 0:
            self._validate(session, final=False, limit=None)

    def stepped(self, session: Session, outcome: Outcome) -> None:
        """Count a step's pairs where the step was taken; validate if it is due."""
        sums_FS, self._objective.sums_FS = self._objective.sums_FS, None
        if outcome.verdict.fine and sums_FS is not None:
            self._sums_FS = sums_FS if self._sums_FS is None else self._sums_FS + sums_FS
        if session.is_due(self._recipe.validation.every_steps):
            self._validate(session, final=False, limit=self._recipe.validation.tokens)

    def recorded(self, session: Session, line: Line) -> None:
        """Tell how the pairs since the line before were told apart, that of this step included."""
        if isinstance(line, RollbackLine):
            self._sums_FS = None
        if not isinstance(line, TrainLine):
            return
        now_FS, self._objective.sums_FS = self._objective.sums_FS, None
        sums = [sums_FS for sums_FS in (self._sums_FS, now_FS) if sums_FS is not None]
        self._sums_FS = None
        if sums:
            figures = figures_of(self._of_all(session, torch.stack(sums).sum(0)), self._train.names)
            session.record(PreferenceLine, split="train", sources=figures)

    def ended(self, session: Session) -> None:
        """Validate on all held-out pairs."""
        self.final = self._validate(session, final=True, limit=None)

    def _table_of(self, session: Session, examples: Examples, split: str) -> PairTable:
        reference_E2 = reference_of(
            session, self._objective, examples, split, directory=self._directory, padding=self._padding
        )  # fmt: skip
        sources_E = torch.from_numpy(examples.source(np.arange(examples.total))).to(session.world.device)
        return PairTable(reference_E2=reference_E2, sources_E=sources_E, sources=len(examples.names))

    def _validate(self, session: Session, *, final: bool, limit: int | None) -> Validation:
        if not self._heldout.total:
            return Validation({}, {})
        session.settle()
        started = time.perf_counter()
        figures = self._measure(session, limit)
        result = Validation({source: found.loss for source, found in figures.items()}, {})
        record_validation(session, result, started, final=final)
        session.record(PreferenceLine, split="heldout", final=final, sources=figures)
        told = ", ".join(f"{source} {found.accuracy:.1%}" for source, found in figures.items())
        session.say(f"step {session.state.step}: held-out pairs told apart as preferred: {told}")
        return result

    def _measure(self, session: Session, limit: int | None) -> dict[str, PreferenceFigures]:
        heldout = self._heldout
        chosen = spread(heldout, limit)
        sums_FS = torch.zeros(len(FIGURES), len(self._heldout.names), dtype=torch.float64, device=session.world.device)
        bar = progress("validate", len(chosen), "pairs", visible=session.world.main)
        with torch.compiler.set_stance("force_eager"), self._objective.tokens.passes(), bar as advance:
            for first in range(0, len(chosen), WINDOW):
                part = chosen[first : first + WINDOW]
                packs = packs_of(heldout, part, session.recipe.model.context)
                for batch in own_batches(session, heldout, packs, self._padding):
                    if not session.state.step:
                        session.leave_if_asked()
                    sums_FS += self._objective.measure(batch.sent(session.world.device), self._table)
                advance(len(part))
        reshard(session.model)
        return figures_of(self._of_all(session, sums_FS), self._heldout.names)

    def _of_all(self, session: Session, sums_FS: Tensor) -> Tensor:
        """The sums over all devices; those that share sequences or products have equal ones."""
        return session.world.sum(sums_FS) / (session.mesh.context * session.mesh.tensor)


def figures_of(sums_FS: Tensor, names: list[str]) -> dict[str, PreferenceFigures]:
    """The means of each source that has pairs, from sums in the order of `FIGURES`."""
    found = {}
    for name, values in zip(names, sums_FS.T.tolist(), strict=True):
        sums = dict(zip(FIGURES, values, strict=True))
        pairs = round(sums.pop("pairs"))
        if pairs:
            accuracy = sums.pop("right") / pairs
            means = {key: value / pairs for key, value in sums.items()}
            found[name] = PreferenceFigures(pairs=pairs, accuracy=accuracy, **means)
    return found

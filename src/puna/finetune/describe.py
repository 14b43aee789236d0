"""`tuning.json`: what a run of instruction tuning learns from, for its report and for comparisons."""

from collections import Counter

from puna.core.files import sha256_bytes
from puna.core.schema.tuning import CutExamples, ExampleCounts, PackedRun, TuningRecord
from puna.finetune.begin import Base
from puna.finetune.plan import Plan
from puna.finetune.token_files import Manifest, Part
from puna.finetune.truncation import REASONS
from puna.shards.split import HELDOUT, TRAIN
from puna.train.session import Session


def learned_parameters(session: Session) -> int:
    """How many numbers of the session's model learn, on all devices together."""
    return sum(parameter.numel() for parameter in session.model.parameters() if parameter.requires_grad)


def tuning_record(
    base: Base, plan: Plan, manifest: Manifest, *, learned: int, sequences: int, model: int
) -> TuningRecord:
    """What is known of a run when it begins.

    Args:
        base: The model that it begins with.
        plan: Which examples make which sequences.
        manifest: What its directory of examples holds.
        learned: Numbers that learn.
        sequences: Of the whole run.
        model: Parameters of the model.
    """
    read = plan.read(sequences)
    names = plan.examples.names
    examples, tokens = (dict(zip(names, found.tolist(), strict=True)) for found in (read.examples, read.tokens))
    return TuningRecord(
        model=base.place, template_sha256=sha256_bytes(base.template.source.encode()), parameters=model,
        learned=learned,
        counts=example_counts(manifest, names), reasons=REASONS,
        run=PackedRun(
            sequences=sequences, context=plan.context, examples=examples, tokens=tokens,
            epochs={name: count / plan.mixing.in_epoch[name] for name, count in examples.items()},
        ),
    )  # fmt: skip


def example_counts(manifest: Manifest, names: list[str]) -> list[ExampleCounts]:
    """The examples of each source and split, of which at least one was read.

    Args:
        manifest: What a run's directory of examples holds.
        names: The sources, in the recipe's order.
    """
    found = []
    for name in names:
        for split in (TRAIN, HELDOUT):
            parts = [part for part in manifest.parts if (part.source, part.split) == (name, split)]
            if any(part.read for part in parts):
                found.append(_added(name, split, parts))
    return found


def _added(source: str, split: str, parts: list[Part]) -> ExampleCounts:
    dropped, cut = Counter[str](), Counter[str]()
    for part in parts:
        dropped.update(part.dropped)
        cut.update(part.cut)
    sums = {key: sum(getattr(part, key) for part in parts) for key in ("read", "examples", "tokens", "targets")}
    return ExampleCounts.model_validate(
        {"source": source, "split": split, "dropped": dropped, "cut": CutExamples(**cut)} | sums
    )

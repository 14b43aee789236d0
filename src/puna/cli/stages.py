"""The stages from data to report, joined by files: each reads what the one before it has written.

A stage is finished when its record exists and was made with the recipe's present values. A finished stage is skipped;
one that was made with other values is refused, unless it may be replaced.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.config.explain import differences
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record

if TYPE_CHECKING:
    from puna.formats.export_model import Options
    from puna.formats.proof.equivalence import Text


def train_model(
    recipe: Recipe, data: DataDir, run: RunDir, *, resume: bool, force: bool, stop_at: int | None = None
) -> None:
    """The model, trained on the data build."""
    if not recipe.mixture:
        raise DataError(
            f"recipe {recipe.name!r} names no data to train on",
            hint="write a recipe that extends it, with [data.sources] and [mixture]",
        )
    build = read_record(data.record)
    if build is None:
        raise DataError(
            f"{data.root}: no finished data build is here", hint=f"`puna data build {recipe.name}` makes it"
        )
    if changed := differences(build["config"], recipe.data.model_dump()):
        raise DataError(
            f"{data.root}: was built with other values: {'; '.join(changed)}",
            hint="give these values back, or build the data again: `puna data build … --force`",
        )
    from puna.infer.generate import generate_text
    from puna.model.llama import Llama
    from puna.tokenizer.tokenizer import Tokenizer
    from puna.train.pretrain import train

    samples = recipe.samples

    def sample(model: Llama, tokenizer: Tokenizer, prompt: str, seed: int) -> str:
        return generate_text(
            model, tokenizer, prompt, max_tokens=samples.max_tokens, temperature=samples.temperature,
            top_p=samples.top_p, seed=seed,
        )  # fmt: skip

    train(recipe, data, run, resume=resume, force=force, sample=sample, stop_at=stop_at)


def export_model(source: Path, form: str, out: Path | None, text: "Text", options: "Options", *, force: bool) -> None:
    """The model in another format, with its equivalence report."""
    from puna.core.terminate import orderly_end
    from puna.formats.export_model import export_model as export
    from puna.formats.proof.equivalence import summary
    from puna.model.files import resolve_model

    model = resolve_model(source)
    # A run's exports go into the run, whichever of its two directories was named; other models have their own.
    target = out or (model.parent if model.name == RunDir(source).model.name else model) / "exports" / form
    with orderly_end():
        results = export(model, form, target, text, options, force=force)
    for line in summary(results):
        say(line)
    say(f"exported to {target}")


def write_report(run: RunDir) -> None:
    """The report page of a run."""
    from puna.report.page import write_report

    say(f"report: {write_report(run)}")


def walk(recipe: Recipe, data: DataDir, run: RunDir) -> None:
    """Run all stages; finished ones are skipped."""
    from puna.data.stages.build import build_data

    build_data(recipe, data, force=False)
    train_model(recipe, data, run, resume=True, force=False)
    exported = run.exports / "hf"
    if _exported_from(run, exported):
        say(f"{exported}: exported already")
    else:
        from puna.cli.proof_text import proof_text
        from puna.formats.export_model import Options

        export_model(run.root, "hf", None, proof_text(run.root, None), Options(), force=True)
    write_report(run)
    say(f'try: puna generate {run.root} "{(recipe.samples.prompts or ["Once"])[0]}"')


def _exported_from(run: RunDir, exported: Path) -> bool:
    """Whether an export exists and was made from the run's present model."""
    proof = read_record(exported / "equivalence.json")
    model = read_record(run.model / "record.json")
    return proof is not None and model is not None and proof["inputs"] == model["outputs"]

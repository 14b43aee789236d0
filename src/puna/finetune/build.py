"""The data build of a run of instruction tuning, made where it is not there."""

import shlex

from puna.config.commands import data_build_command
from puna.config.explain import differences
from puna.config.paths import with_known_places
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record, result_of
from puna.core.units import counted
from puna.data.documents import documents_record, documents_sha256
from puna.data.stages.build import build_data
from puna.finetune.token_files import MANIFEST, read_manifest
from puna.shards.card import read_card
from puna.shards.split import SPLITS


def documents_of(recipe: Recipe, data: DataDir, run: RunDir, *, kept: bool) -> str:
    """The hash of all documents of a recipe's build, which is made where it is not there.

    Args:
        recipe: What it is built by.
        data: Where it is.
        run: The run's directory.
        kept: Whether the examples that the run has will do where the build is gone; not where a new run begins, and not
            where the user has named files, so that what they hold now is meant.

    Raises:
        DataError: A build with other values is there, something else, or a source is missing or damaged.
    """
    if kept and read_record(data.record) is None and (run.examples / MANIFEST).is_file():
        return str(read_manifest(run.examples).settings["data"])
    build_examples(recipe, data)
    # Of what the documents are, not of the files that they came from: one that was copied gives equal examples.
    names = documents_record(data)["results"]
    return sha256_json([[name, split, documents_sha256(data, name, split)] for name in names for split in SPLITS])


def dropped_by(data: DataDir) -> list[str]:
    """What a build has dropped, a sentence for each source and reason; none where the build is gone."""
    if not data.card.is_file():
        return []
    card = read_card(data)
    lines = [
        f"{source.name}: {counted(count, 'row')} dropped ({reason}): {card.reasons.get(reason, '')}"
        for source in card.sources
        for reason, count in source.dropped.items()
    ]
    return [*lines, f"`{shlex.join(['puna', 'data', 'inspect', str(data), '--dropped'])}` shows them"] if lines else []


def build_examples(recipe: Recipe, data: DataDir) -> None:
    """Make the build of a recipe's examples, where no finished one is there.

    Raises:
        DataError: One with other values is there, something else, or a source is missing or damaged.
    """
    record = read_record(data.record)
    if record is None:
        say(f"{data}: the examples are read and cleaned first")
        build_data(recipe, data, force=False)
        return
    if record["stage"] != "data":
        raise DataError(f"{data}: holds {result_of(record)}, not a data build", hint="give another --data-dir")
    wanted = recipe.data.model_dump()
    if changed := differences(with_known_places(record["config"], wanted, data.root, "data"), wanted):
        hint = "give these values back, or another --data-dir"
        if not recipe.typed_option("--data"):  # `puna data build` takes a recipe that names its files
            hint += f", or build it again: `{data_build_command(recipe, data, '--force')}`"
        raise DataError(f"{data}: was built with other values: {'; '.join(changed)}", hint=hint)

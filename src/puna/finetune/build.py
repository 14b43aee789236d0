"""The data build of a run of instruction tuning, made where it is not there."""

from puna.config.commands import data_build_command
from puna.config.explain import differences
from puna.config.paths import with_known_places
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record, result_of
from puna.data.documents import documents_record
from puna.data.stages.build import build_data
from puna.finetune.token_files import MANIFEST, read_manifest


def documents_of(recipe: Recipe, data: DataDir, run: RunDir) -> str:
    """The hash of all documents of a recipe's build, which is made where it is not there.

    A run that has begun has its examples in its own directory, and needs the build no more.

    Raises:
        DataError: A build with other values is there, something else, or a source is missing or damaged.
    """
    if read_record(data.record) is None and (run.examples / MANIFEST).is_file():
        return str(read_manifest(run.examples).settings["data"])
    build_examples(recipe, data)
    return sha256_json(documents_record(data)["outputs"])


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
        raise DataError(
            f"{data}: was built with other values: {'; '.join(changed)}",
            hint=f"give these values back, another --data-dir, or build it again: "
            f"`{data_build_command(recipe, data, '--force')}`",
        )

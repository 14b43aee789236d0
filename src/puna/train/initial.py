"""Initial weights that are not drawn: those of a finished model, or of a checkpoint of another run.

Nothing else is taken from that run: the optimizer, the schedule and the order of the data begin again.
"""

from pathlib import Path

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError
from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.core.schema.train_state import list_checkpoints, read_header
from puna.model.directory import check_files, resolve_model
from puna.model.files import check_decoder, load_weights
from puna.model.llama import Llama
from puna.parallel.world import World
from puna.train.checkpoint import check_shards, load_weights_only


def load_initial(source: Path, model: Llama, world: World) -> tuple[str, list[str]]:
    """Fill the model, in any layout; each process reads its own part, tensor by tensor.

    Args:
        source: A run (its finished model, else its newest checkpoint), a model directory, or a checkpoint.
        model: Built for the recipe, on its device.
        world: The processes; all of them call this.

    Returns:
        SHA-256 that names the weights, and the rotary settings that differ from those of the weights.

    Raises:
        CheckpointError: There are no weights, they are damaged, or they are another decoder's.
    """
    place = world.first(lambda: _find(source))
    if (place / "state.json").is_file():
        state, hashes = read_header(place)
        check_shards(place, hashes, world)
        config = ModelConfig.model_validate(state.recipe.get("model", {}))
        differs = check_decoder(place / "state.json", config, model.config)
        load_weights_only(place, model, world)
        return sha256_json(hashes), differs
    record = world.first(lambda: check_files(place))
    return sha256_json(record["outputs"]), load_weights(model, place)


def _find(source: Path) -> Path:
    """The directory of the weights."""
    if (source / "state.json").is_file():
        return source
    try:
        return resolve_model(source)
    except CheckpointError:
        checkpoints = list_checkpoints(RunDir(source))
        if not checkpoints:
            raise CheckpointError(
                f"train.init_from = {str(source)!r}: holds no weights to begin with",
                hint="give a run, a checkpoint of a run (runs/NAME/checkpoints/step-…), or a model directory; "
                "`puna import PATH` makes one of other formats",
            ) from None
        return checkpoints[-1][1]

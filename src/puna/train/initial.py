"""Initial weights that are not drawn: those of a finished model, or of a checkpoint of another run.

Nothing else is taken from that run: the optimizer, the schedule and the order of the data begin again.
"""

from pathlib import Path

from puna.core.console import say
from puna.core.errors import CheckpointError
from puna.core.files import sha256_json
from puna.core.reference import find_moment
from puna.core.schema.train_state import is_checkpoint
from puna.model.checkpoint_weights import CheckpointWeights
from puna.model.directory import check_files, resolve_model
from puna.model.files import check_decoder, fill, load_weights
from puna.model.llama import Llama
from puna.model.parts import own_parts
from puna.parallel.world import World
from puna.train.checkpoint import check_shards


def load_initial(source: Path, model: Llama, world: World) -> tuple[str, list[str]]:
    """Fill the model, in any layout; each process reads its own part, tensor by tensor.

    Args:
        source: A run (its finished model, else its newest checkpoint), a moment of one (`puna.core.reference`), or a
            model directory.
        model: Built for the recipe, on its device.
        world: The processes; all of them call this.

    Returns:
        SHA-256 that names the weights, and the rotary settings that differ from those of the weights.

    Raises:
        CheckpointError: There are no weights, they are damaged, or they are another decoder's.
    """
    place = world.first(lambda: _find(source))
    if not is_checkpoint(place):
        record = world.first(lambda: check_files(place))
        return sha256_json(record["outputs"]), load_weights(model, place)
    with CheckpointWeights(place) as stored:
        check_shards(place, stored.hashes, world)
        differs = check_decoder(place / "state.json", stored.config, model.config)
        stored.check({part.name: part.shape for part in own_parts(model)})
        fill(model, stored)
        return sha256_json(stored.hashes), differs


def _find(source: Path) -> Path:
    """The directory of the weights."""
    if (moment := find_moment(source)) is not None:
        if moment.why:
            say(f"train.init_from = {str(source)!r}: {moment.name}, {moment.why}")
        return moment.directory
    try:
        return resolve_model(source)
    except CheckpointError:
        raise CheckpointError(
            f"train.init_from = {str(source)!r}: holds no weights to begin with",
            hint="give a run, a checkpoint of a run (RUN@step-400, RUN@best), or a model directory; `puna import PATH` "
            "makes one of other formats",
        ) from None

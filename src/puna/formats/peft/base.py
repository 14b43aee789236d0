"""Whether a model is the one that an adapter was trained on, as far as hashes that are written down say it."""

from puna.core.console import warn
from puna.core.files import sha256_json
from puna.core.records import read_record
from puna.formats.checkpoint import Checkpoint
from puna.model.adapter import Adapter
from puna.model.directory import RECORD


def warn_of_another_base(adapter: Adapter, base: Checkpoint, where: str) -> None:
    """Warn where an adapter is put on weights that are not those which it was trained on.

    Nothing is said where no hash is known: of adapters of other programs, and of models in other formats, whose files
    would have to be read for it. A model that was imported has the hashes of what it was imported from, too.

    Args:
        adapter: Of the shape of the model.
        base: The model, opened.
        where: What to call the adapter.
    """
    known = _hashes(base)
    if adapter.base_sha256 and known and adapter.base_sha256 not in known:
        warn(
            f"{where}: was trained on other weights than {base.path} has; unless these are the same model in another "
            "form, what it answers with this adapter was never trained"
        )


def _hashes(base: Checkpoint) -> set[str]:
    """The hashes by which a run may have named these weights, those of all files in one (`puna.train.initial`)."""
    if (known := base.weights_sha256) is None:
        return set()
    record = read_record(base.path / RECORD) if base.format == "puna" else None
    return {known} | (set() if record is None else {sha256_json(record["inputs"])})

"""EasyLM's checkpoints, as a record."""

from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from puna.formats.easylm.forms import Form
from puna.formats.format import Format, Job, Option

if TYPE_CHECKING:
    from puna.formats.checkpoint import Checkpoint, Hints

FORM = Option(name="form", help="which of its files; params where it is left out", choices=get_args(Form))


def _recognises(path: Path) -> bool:
    from puna.formats.easylm.read import is_easylm

    return is_easylm(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.easylm.read import open_easylm

    return open_easylm(path, hints)


def _write(source: "Checkpoint", job: Job) -> list[str]:
    from puna.formats.easylm.write import write_easylm

    write_easylm(source, job.tokenizer, job.directory, form=cast(Form, job.options.get(FORM.name, "params")))
    return []


EASYLM = Format(
    name="easylm", title="EasyLM checkpoint", recognises=_recognises, reader=_open, writer=_write, options=(FORM,)
)

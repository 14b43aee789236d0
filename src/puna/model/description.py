"""model.toml: what a model directory says of its decoder, read without torch."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from puna.config.recipe import ModelConfig
from puna.core.bounded import read_bounded
from puna.core.errors import CheckpointError
from puna.model.directory import CONFIG

FORMAT, VERSION = "puna-model", 1

_MOST_CONFIG = 1 << 16
"""Bytes of model.toml; the files that Puna writes have one thousand."""


def model_header(config: ModelConfig) -> dict[str, Any]:
    """The content of model.toml."""
    return {"format": FORMAT, "version": VERSION, "model": config.model_dump(exclude_none=True)}


def read_config(directory: Path) -> ModelConfig:
    """The configuration in a model directory.

    Raises:
        CheckpointError: model.toml is missing, damaged or of another format.
    """
    path = directory / CONFIG
    try:
        header = tomllib.loads(read_bounded(path, _MOST_CONFIG, CheckpointError).decode())
        form, version = header["format"], header["version"]
        if (form, version) != (FORMAT, VERSION):
            raise CheckpointError(
                f"{path}: is {form!r} version {version}, this version of Puna reads {FORMAT!r} {VERSION}"
            )
        config = ModelConfig.model_validate(header["model"])
        if unknown := header.keys() - {"format", "version", "model"}:
            raise CheckpointError(f"{path}: has {min(unknown)!r:.80}, which no Puna model has")
        return config
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["model", *map(str, first["loc"])])
        raise CheckpointError(f"{path}: {where}: {first['msg']}, found {first['input']!r:.80}") from None
    except KeyError as error:
        raise CheckpointError(f"{path}: is not a description of a Puna model: {error} is missing") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not a description of a Puna model: {error!s:.200}") from None

"""The plain model on the disk: what inference, evaluation, fine-tuning and exports read.

```
model/
  model.safetensors   weights by Meta's names; no output.weight where embeddings are tied
  model.toml          format = "puna-model", version = 1, [model] as in a recipe
  tokenizer.model     SentencePiece; or tokenizer.json, byte BPE; or neither
  record.json         how it came to be, and the SHA-256 of the other files
```
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError
from puna.core.files import atomic_directory, sha256_file
from puna.core.layout import RunDir
from puna.core.records import Record, read_record
from puna.model.llama import Llama
from puna.model.safetensors import write_safetensors
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

FORMAT, VERSION = "puna-model", 1
WEIGHTS, CONFIG = "model.safetensors", "model.toml"
_TIED = "output.weight"


def save_model(
    model: Llama,
    directory: Path,
    *,
    tokenizer: Tokenizer | None,
    inputs: dict[str, str],
    whole: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> dict[str, str]:
    """Write the model, its configuration and its tokenizer; a model that was there gives way when all is complete.

    Args:
        model: The weights, on any device.
        directory: Where to.
        tokenizer: Its native file is written beside the weights.
        inputs: Hashes of what the model was made from, for its record.
        whole: Gives the whole of a tensor of which this device has a part; called once for each, in their order.

    Returns:
        SHA-256 of every file by name.

    Raises:
        StorageError: The disk is full or not writable.
    """
    parameters = dict(model.named_parameters())
    with atomic_directory(directory, replace=True) as temporary:
        write_safetensors(temporary / WEIGHTS, parameters, lambda name: whole(parameters[name]))
        (temporary / CONFIG).write_text(tomli_w.dumps(model_header(model.config)), encoding="utf-8")
        if tokenizer is not None:
            (temporary / tokenizer.file).write_bytes(tokenizer.content)
        hashes = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        Record("model", config=model.config.model_dump(exclude_none=True), inputs=inputs, outputs=hashes).write(
            temporary / "record.json"
        )
    return hashes


def load_model(directory: Path, device: str | torch.device = "cpu") -> tuple[Llama, ModelConfig]:
    """The model, ready to run, after every file has been checked against its hash.

    Raises:
        CheckpointError: A file is missing or damaged, the format is another, or the tensors or the tokenizer don't fit
            the configuration.
    """
    check_files(directory)
    config = read_config(directory)
    _check_tokenizer(directory, config)
    with torch.device("meta"):
        model = Llama(config)
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    path = directory / WEIGHTS
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            _check_names(path, set(expected), set(file.keys()))
            weights = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is no readable safetensors file: {error}") from None
    for name, tensor in weights.items():
        if tensor.shape != expected[name]:
            raise CheckpointError(
                f"{path}: {name} is {list(tensor.shape)}, but {CONFIG} makes it {list(expected[name])}"
            )
    model.load_state_dict(
        weights | ({_TIED: weights["tok_embeddings.weight"]} if config.tie_embeddings else {}), assign=True
    )
    if config.tie_embeddings:
        model.output.weight = model.tok_embeddings.weight
    return model.eval(), config


def _check_tokenizer(directory: Path, config: ModelConfig) -> None:
    """Refuse ids for which the model has no row; a padded vocabulary has rows that no id names."""
    file = find_tokenizer(directory)
    if file is not None and (tokens := load_tokenizer(file).vocab_size) > config.vocab_size:
        raise CheckpointError(f"{file}: has {tokens} tokens, but {CONFIG} has vocab_size = {config.vocab_size}")


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
        header = tomllib.loads(path.read_text(encoding="utf-8"))
        form, version = header["format"], header["version"]
        if (form, version) != (FORMAT, VERSION):
            raise CheckpointError(
                f"{path}: is {form!r} version {version}, this version of Puna reads {FORMAT!r} {VERSION}"
            )
        return ModelConfig.model_validate(header["model"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["model", *map(str, first["loc"])])
        raise CheckpointError(f"{path}: {where}: {first['msg']}, found {first['input']!r}") from None
    except KeyError as error:
        raise CheckpointError(f"{path}: is no description of a Puna model: {error} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is no description of a Puna model: {error}") from None


def check_files(directory: Path) -> None:
    """Check every file of a model directory against the hash in its record.

    Raises:
        CheckpointError: A file is missing or is not the one that was written.
    """
    record = read_record(directory / "record.json")
    if record is None:
        raise CheckpointError(f"{directory}: holds no finished Puna model (there is no record.json)")
    outputs = record.get("outputs", {})
    for name in dict.fromkeys((WEIGHTS, CONFIG, *outputs, *_tokenizer(directory))):
        path = directory / name
        if name not in outputs:
            raise CheckpointError(f"{directory / 'record.json'}: has no hash of {name}, so it is no model's record")
        if not path.is_file():
            raise CheckpointError(f"{path}: is missing")
        if sha256_file(path) != outputs[name]:
            raise CheckpointError(f"{path}: is damaged, its SHA-256 is not the one written with it")


def resolve_model(path: Path) -> Path:
    """The model directory that `path` names: a run's, or itself.

    Raises:
        CheckpointError: There is no model.
    """
    for candidate in (RunDir(path).model, path):
        if (candidate / CONFIG).is_file():
            return candidate
    what = "has no finished model yet" if RunDir(path).checkpoints.exists() else "holds no Puna model"
    raise CheckpointError(
        f"{path}: {what}",
        hint="`puna train RECIPE --resume` finishes a run; `puna run demo` makes one; `puna import PATH` makes a Puna "
        "model of other formats",
    )


def _tokenizer(directory: Path) -> list[str]:
    """The name of the tokenizer's file, if there is one: without a hash it is not the model's."""
    file = find_tokenizer(directory)
    return [file.name] if file else []


def _check_names(path: Path, expected: set[str], found: set[str]) -> None:
    if missing := sorted(expected - found):
        raise CheckpointError(f"{path}: lacks {len(missing)} tensors, the first is {missing[0]}")
    if extra := sorted(found - expected):
        raise CheckpointError(f"{path}: has {len(extra)} tensors that the model has not, the first is {extra[0]}")

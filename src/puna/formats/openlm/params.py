"""Values of a model from open_lm's files.

open_lm (github.com/mlfoundations/open_lm) writes no shape into a checkpoint. It is in a JSON file of `model_configs`
and in the arguments of the training, which `params.txt` lists; if both have a setting, the JSON file counts
(`create_params`). Of the two Hugging Face forms, one has the settings at the top of config.json, the other keeps the
arguments in it under `params_args_dict`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.core.bounded import read_bounded
from puna.core.errors import FormatError
from puna.core.files import decode_text
from puna.formats.containers.json_object import read_json_object
from puna.formats.openlm.arguments import refuse_of_a_decoder

_KINDS: dict[str, type] = {
    "hidden_dim": int, "n_layers": int, "n_heads": int, "seq_len": int, "vocab_size": int, "moe_freq": int,
    "post_embed_norm": bool, "weight_tying": bool, "qk_norm": bool,
    "model_norm": str, "positional_embedding_type": str, "ffn_type": str, "model": str,
    "attn_name": str, "attn_activation": str, "attn_seq_scalar": str,
    "attn_seq_scalar_alpha": float, "norm_eps": float,
}  # fmt: skip
_ALIASES = {"dim": "hidden_dim", "norm_type": "model_norm", "apply_qk_norm": "qk_norm"}
"""Other names of some of them, in the dataclass `Params` and in config.json."""
_READ = frozenset((*_KINDS, *_ALIASES))
_SIZES = ("hidden_dim", "n_layers", "n_heads", "seq_len", "vocab_size", "post_embed_norm", "weight_tying")
"""Settings that must not differ between files; for the others the first file counts, as in open_lm."""

_MODELS = {
    (96, 12, 12): "open_lm_11m quark_neox",
    (96, 8, 4): "open_lm_11m_v2",
    (192, 12, 12): "open_lm_25m atom_neox",
    (288, 12, 12): "open_lm_41m",
    (488, 12, 12): "open_lm_87m aphid_neox",
    (512, 8, 4): "open_lm_79m_v2",
    (576, 24, 8): "open_lm_154m_v2",
    (768, 12, 12): "open_lm_160m ant_neox",
    (1024, 24, 8): "open_lm_411m_v2",
    (1024, 24, 16): "open_lm_410m potato_neox",
    (1536, 24, 16): "open_lm_830m marmot_neox",
    (2048, 24, 16): "open_lm_1b open_lm_1b_old m1b_neox m1b_tiktoken",
    (2560, 32, 32): "open_lm_3b g3b_neox",
    (4096, 32, 32): "open_lm_7b l7b_neox llama2_7b",
}
"""open_lm's model_configs: width, layers, heads. The vocabulary is 50,432 and the context 2048 unless given."""
_MORE: dict[str, dict[str, Any]] = {
    "m1b_tiktoken": {"vocab_size": 50304},
    "open_lm_1b_old": {"qk_norm": False, "ffn_type": "swiglu", "model_norm": "default_layer_norm",
                       "positional_embedding_type": "head_rotary"},
    "llama2_7b": {"seq_len": 4096, "vocab_size": 32000, "positional_embedding_type": "llama_rotary",
                  "model_norm": "rms_norm", "ffn_type": "swiglu"},
}  # fmt: skip
_LARGEST_ARGUMENTS = 1 << 22
"""Bytes of a params.txt; its longest lines are lists of the data's files."""
_LARGEST_JSON = 65_536
"""Bytes of the largest file that may be a model configuration; tokenizers are JSON, too."""


@dataclass
class Settings:
    """Values of a model, by open_lm's names, and the file of each."""

    values: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, file: Path, values: Mapping[str, Any]) -> None:
        """Take the values of a file that no earlier file has.

        Raises:
            FormatError: A value makes no sense, or is a size that differs from an earlier file's.
        """
        for key, value in values.items():
            name = _ALIASES.get(key, key)
            if name not in _KINDS or value is None:
                continue
            _check_kind(file, key, value, _KINDS[name])
            if name not in self.values:
                self.values[name], self.files[name] = value, file
            elif self.values[name] != value and (name in _SIZES or file == self.files[name]):
                raise FormatError(f"{file}: {key} = {value!r:.80}, but {self._where(name, file)} {self.values[name]!r}")

    def _where(self, name: str, file: Path) -> str:
        return f"it also says {name} =" if file == self.files[name] else f"{self.files[name].name} says"

    def choose(self, name: str, known: Mapping[str, str], other: Mapping[str, str]) -> str | None:
        """Our name for the value of a setting; None if no file has it.

        Raises:
            FormatError: The decoder has nothing like it.
        """
        value = self.values.get(name)
        if value is None or value in known:
            return value and known[value]
        what = f"is {other[value]}" if value in other else "is unknown"
        raise FormatError(
            f"{self.files[name]}: {name} = {value!r:.80} {what}; Puna's decoder computes {', '.join(known)}"
        )


def training_directories(directory: Path) -> list[Path]:
    """Directories of a model's training: that of the weights, and the one above a directory `checkpoints`."""
    return [directory, directory.parent] if directory.name == "checkpoints" else [directory]


def read_settings(directory: Path) -> Settings:
    """Values of the model in a directory, from the files of its training.

    Raises:
        FormatError: One is damaged, two contradict each other, or it is not clear which is meant.
    """
    settings = Settings()
    around = training_directories(directory)
    params = next((path / "params.txt" for path in around if (path / "params.txt").is_file()), None)
    arguments = {} if params is None else _read_arguments(params)
    model = arguments.get("model")
    if (file := _find_model_config(around, model)) is not None:
        values = read_json_object(file)
        settings.add(file, values)
        if ignored := refuse_of_a_decoder(file, values, _READ):
            settings.notes.append(f"{file.name} has {', '.join(map(repr, ignored[:5]))}, which open_lm does not read")
        if model is not None and file.stem != Path(model).stem:
            configuration = f"the model configuration that params.txt names, {model!r:.80}"
            settings.notes.append(f"{file.name} is taken for {configuration}")
    if is_hugging_face(directory):
        values = read_json_object(directory / "config.json")
        nested = values.get("params_args_dict")
        for said in (values, nested if isinstance(nested, dict) else {}):
            settings.add(directory / "config.json", said)
            refuse_of_a_decoder(directory / "config.json", said, _READ)
        model = settings.values.get("model", model)
    if params is not None:
        settings.add(params, arguments)
    if file is None and model is not None:
        _add_known_shape(settings, Path(model).stem, params)
    return settings


def is_hugging_face(directory: Path) -> bool:
    """Whether a directory has a config.json of open_lm's Hugging Face form; never raises."""
    try:
        return read_json_object(directory / "config.json").get("model_type") == "openlm"
    except (FormatError, ValueError):
        return False


def _add_known_shape(settings: Settings, model: str, params: Path | None) -> None:
    """Add the values of open_lm's own file of this name that no file here has."""
    shape = next((sizes for sizes, names in _MODELS.items() if model in names.split()), None)
    if shape is None:
        return
    file = Path(f"open_lm/model_configs/{model}.json")
    special = _MORE.get(model, {})
    sizes = dict(zip(_SIZES, (*shape, 2048, 50432, False, False), strict=True))
    filled = []
    for name, value in (sizes | special).items():
        if name not in settings.values or (name in special and settings.files[name] == params):
            settings.values[name], settings.files[name] = value, file
            filled.append(name)
    if filled:
        settings.notes.append(f"no file says {', '.join(filled)}, so what open_lm's own {model}.json says is taken")


def _find_model_config(around: list[Path], model: str | None) -> Path | None:
    """The model configuration: the file that the arguments name, or the only one there is."""
    found, broken = [], {}
    for file in (file for directory in around for file in sorted(directory.glob("*.json"))):
        try:
            if _is_model_config(file):
                found.append(file)
        except FormatError as error:
            broken[file.stem] = error
    chosen = [file for file in found if model is not None and file.stem == Path(model).stem]
    if not chosen and model is not None and Path(model).stem in broken:
        raise broken[Path(model).stem]
    if len(chosen or found) > 1:
        names = ", ".join(file.name for file in found)
        raise FormatError(f"{around[0]}: has several model configurations ({names}) and nothing says which is meant")
    return next(iter(chosen or found), None)


def _is_model_config(file: Path) -> bool:
    try:
        if file.stat().st_size > _LARGEST_JSON:
            return False
    except OSError:
        return False
    values = read_json_object(file)
    return {"hidden_dim", "n_layers", "n_heads"} <= values.keys() and "model_type" not in values


def _read_arguments(path: Path) -> dict[str, Any]:
    """The arguments of a training that describe the model."""
    text = decode_text(read_bounded(path, _LARGEST_ARGUMENTS, FormatError), path, FormatError)
    lines = (line.partition(":") for line in text.splitlines())
    said = {name: text.strip() for name, colon, text in lines if colon}
    # A text in the arguments may have several lines, and anything before a colon.
    arguments = {name: text for name, text in said.items() if name.isidentifier() and text not in ("None", "False")}
    refuse_of_a_decoder(path, arguments, _READ)
    return {name: _parsed(path, name, said[name]) for name in said if name in _KINDS and said[name] != "None"}


def _parsed(path: Path, name: str, text: str) -> Any:
    kind = _KINDS[name]
    try:
        return {"True": True, "False": False}[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise FormatError(f"{path}: {name} should be {kind.__name__}, found {text!r:.80}") from None


def _check_kind(file: Path, name: str, value: Any, kind: type) -> None:
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise FormatError(f"{file}: {name} should be {kind.__name__}, found {value!r:.80}")

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError, StorageError, UserError
from puna.core.files import sha256_bytes, sha256_file
from puna.core.records import read_record
from puna.model.files import check_decoder, fill, load_model, save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.model.weights import open_weights
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

SHAPE = {"dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 512, "context": 16}


def build(**changes: object) -> Llama:
    model = Llama(ModelConfig.model_validate(SHAPE | changes))
    init_weights(model, 0)
    return model


@pytest.fixture
def saved(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    save_model(build(), tmp_path / "model", tokenizer=tokenizer, inputs={"data": "hash"})
    return tmp_path / "model"


def sign_again(directory: Path) -> None:
    """Make the record agree with the files, as someone who edits them by hand could."""
    path = directory / "record.json"
    record = json.loads(path.read_text())
    record["outputs"] = {name: sha256_file(directory / name) for name in record["outputs"]}
    path.write_text(json.dumps(record))


def refusal(directory: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(directory)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("tied", [False, True])
def test_saved_model_comes_back_bit_by_bit(tmp_path: Path, tokenizer: Tokenizer, tied: bool) -> None:
    model = build(tie_embeddings=tied)
    outputs = save_model(model, tmp_path / "m", tokenizer=tokenizer, inputs={})
    loaded = load_model(tmp_path / "m").model
    assert loaded.config == model.config
    for (name, expected), (again, parameter) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert (name, expected.dtype) == (again, parameter.dtype)
        assert torch.equal(expected, parameter), name
    tokens_BT = torch.arange(16)[None]
    assert torch.equal(model(tokens_BT), loaded(tokens_BT))
    assert (loaded.output.weight is loaded.tok_embeddings.weight) == tied
    assert ("output.weight" in load_file(tmp_path / "m" / "model.safetensors")) != tied
    assert outputs == {
        name: sha256_file(tmp_path / "m" / name) for name in ("model.safetensors", "model.toml", "tokenizer.model")
    }


def test_every_option_of_the_model_comes_back(tmp_path: Path, tokenizer: Tokenizer) -> None:
    scaling = {"kind": "llama3", "factor": 8.0, "original_context": 8}
    model = build(norm="layer", qk_norm=True, rope_scaling=scaling, init="openlm")
    save_model(model, tmp_path / "m", tokenizer=tokenizer, inputs={})
    loaded = load_model(tmp_path / "m").model
    assert loaded.config == model.config
    tokens_BT = torch.arange(16)[None]
    assert torch.equal(model(tokens_BT), loaded(tokens_BT))
    assert "layers.1.attention.q_norm.weight" in load_file(tmp_path / "m" / "model.safetensors")


def test_model_written_before_these_options_still_loads(saved: Path) -> None:
    path = saved / "model.toml"
    before = load_model(saved).model
    new = ("norm = ", "qk_norm = ", "init = ")
    lines = [line for line in path.read_text().splitlines() if not line.startswith(new)]
    assert len(lines) == len(path.read_text().splitlines()) - len(new)
    path.write_text("\n".join(lines))
    sign_again(saved)
    loaded = load_model(saved).model
    assert loaded.config == before.config
    assert torch.equal(loaded.output.weight, before.output.weight)


def test_directory_holds_tokenizer_and_record(saved: Path, tokenizer: Tokenizer) -> None:
    assert load_tokenizer(saved).sha256 == tokenizer.sha256
    record = read_record(saved / "record.json")
    assert record is not None
    assert (record["stage"], record["inputs"]) == ("model", {"data": "hash"})
    loaded = load_model(saved)
    assert (loaded.record, loaded.directory) == (record, saved)
    assert loaded.require_tokenizer().sha256 == tokenizer.sha256
    assert sorted(path.name for path in saved.parent.iterdir()) == ["model"]


def test_chat_template_comes_with_the_model_as_it_is(tmp_path: Path, tokenizer: Tokenizer) -> None:
    template = "{{ a }}\r\n\u00e9\n"
    outputs = save_model(build(), tmp_path / "m", tokenizer=tokenizer, inputs={}, chat_template=template)
    assert load_model(tmp_path / "m").chat_template == template
    assert outputs["chat_template.jinja"] == sha256_bytes(template.encode())
    save_model(build(), tmp_path / "m", tokenizer=tokenizer, inputs={})
    assert load_model(tmp_path / "m").chat_template is None


def test_model_without_a_tokenizer_loads_and_says_what_to_do_when_one_is_needed(tmp_path: Path) -> None:
    save_model(build(), tmp_path / "m", tokenizer=None, inputs={})
    loaded = load_model(tmp_path / "m")
    assert loaded.tokenizer is None
    with pytest.raises(CheckpointError, match="has no tokenizer") as caught:
        loaded.require_tokenizer()
    assert "--tokenizer" in caught.value.hint


def split_in_two(directory: Path) -> None:
    """Put the weights into two files with an index, as Hugging Face's models have them, and sign the record."""
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(weights)
    index = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :])):
        index |= dict.fromkeys(part, f"part-{number}.safetensors")
        save_file({name: weights[name] for name in part}, directory / f"part-{number}.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    record = json.loads((directory / "record.json").read_text())
    files = sorted(path for path in directory.iterdir() if path.name != "record.json")
    record["outputs"] = {path.name: sha256_file(path) for path in files}
    (directory / "record.json").write_text(json.dumps(record))


def test_weights_in_several_files_are_the_same_model(saved: Path) -> None:
    expected = load_model(saved).model.state_dict()
    split_in_two(saved)
    found = load_model(saved).model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    (saved / "part-1.safetensors").unlink()
    assert refusal(saved) == f"{saved / 'part-1.safetensors'}: is missing"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_model_is_filled_with_the_weights_of_a_directory(tmp_path: Path, tied: bool, several: bool) -> None:
    expected = build(tie_embeddings=tied)
    save_model(expected, tmp_path / "m", tokenizer=None, inputs={})
    if several:
        split_in_two(tmp_path / "m")
    model = Llama(expected.config)
    init_weights(model, 1)
    with open_weights(tmp_path / "m") as stored:
        fill(model, stored)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, expected.get_parameter(name)), name


def test_filled_weights_are_rounded_to_the_models_dtype(saved: Path) -> None:
    model = build().bfloat16()
    init_weights(model, 1)
    with open_weights(saved) as stored:
        fill(model, stored)
    for name, parameter in load_model(saved).model.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter.bfloat16())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_heads": 2, "head_dim": 16, "n_kv_heads": 1}, "n_heads = 4, not 2, n_kv_heads = 2, not 1, head_dim = 8"),
        ({"norm": "layer"}, "norm = 'rms', not 'layer'"),
        ({"vocab_size": 600}, "vocab_size = 512, not 600"),
    ],
)
def test_weights_of_another_decoder_are_refused_though_shapes_may_agree(
    saved: Path, changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(CheckpointError, match=r"model\.toml: is of another decoder") as caught:
        check_decoder(saved / "model.toml", build().config, build(**changes).config)
    assert expected in caught.value.message


def test_positions_may_differ_and_are_told(saved: Path) -> None:
    other = build(context=64, init_std=0.1, rope_theta=5e5).config
    assert check_decoder(saved, build().config, build(context=64, init_std=0.1).config) == []
    assert check_decoder(saved, build().config, other) == ["rope_theta = 10000.0, not 500000.0"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: w.pop("norm.weight"), "lacks 1 tensors, the first is norm.weight"),
        (lambda w: w.update({"norm.weight": torch.ones(3)}), "norm.weight is [3], but model.toml makes it [32]"),
        (lambda w: w.update({"norm.weight": torch.ones(32).double()}), "norm.weight is F64, expected one of F32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    saved: Path, change: Callable[[dict[str, torch.Tensor]], object], expected: str
) -> None:
    change_weights(change)(saved)
    shapes = {name: parameter.shape for name, parameter in build().named_parameters()}
    with open_weights(saved) as stored, pytest.raises(CheckpointError) as caught:
        stored.check(shapes)
    assert expected in caught.value.message


def test_bfloat16_model_stays_bfloat16(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = build().bfloat16()
    save_model(model, tmp_path / "m", tokenizer=tokenizer, inputs={})
    loaded = load_model(tmp_path / "m").model
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert loaded.norm.weight.dtype == torch.bfloat16


def test_loaded_weights_can_be_trained_without_touching_the_file(saved: Path) -> None:
    before = sha256_file(saved / "model.safetensors")
    model = load_model(saved).model
    assert all(parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert sha256_file(saved / "model.safetensors") == before


@pytest.mark.parametrize("name", ["model.safetensors", "model.toml", "tokenizer.model"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped bit"])
def test_damaged_file_is_named(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    match damage:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case _:
            path.write_bytes(content)
    assert refusal(saved).startswith(f"{path}: is {'missing' if damage == 'missing' else 'damaged'}")


def change_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        weights = load_file(directory / "model.safetensors")
        change(weights)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, directory / "model.safetensors")

    return apply


def change_text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        text = (directory / name).read_text()
        assert old in text
        (directory / name).write_text(text.replace(old, new))

    return apply


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_weights(lambda w: w.pop("norm.weight")), "safetensors: lacks 1 tensors, the first is norm.weight"),
        (change_weights(lambda w: w.update(extra=torch.ones(1))), "has 1 tensors that the model lacks, the first is"),
        (
            change_weights(lambda w: w.update({"layers.1.attention.wk.weight": torch.ones(8, 32)})),
            "layers.1.attention.wk.weight is [8, 32], but model.toml makes it [16, 32]",
        ),
        (lambda d: (d / "model.safetensors").write_bytes(b"nothing"), "is not a readable safetensors file"),
        (change_text("model.toml", "version = 1", "version = 2"), "version 2, this version of Puna reads"),
        (change_text("model.toml", "puna-model", "other"), "is 'other' version 1"),
        (change_text("model.toml", "[model]", "[modell]"), "is not a description of a Puna model: 'model' is missing"),
        (change_text("model.toml", "dim = 32", 'dim = "a"'), "model.toml: model.dim: "),
        (change_text("model.toml", "vocab_size = 512", "vocab_size = 511"), "has 512 tokens, but model.toml has"),
        (change_text("model.toml", "[model]", "is_causal = false\n[model]"), "has 'is_causal', which no Puna model"),
        (change_text("model.toml", "dim = 32", "dim = 32\nlogit_scale = 2.0"), "model.logit_scale: Extra inputs"),
        (lambda d: (d / "model.toml").write_bytes(b"a=" + b"[" * 20_000), "is not a description of a Puna model"),
        (lambda d: (d / "model.toml").write_bytes(b" " * 70_000), "more than the 65,536 that such a file may have"),
        (lambda d: (d / "model.toml").write_bytes(b"\xff"), "is not a description of a Puna model"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_together_are_refused(saved: Path, change: Callable[[Path], None], expected: str) -> None:
    change(saved)
    sign_again(saved)
    assert expected in refusal(saved)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"schema": 1}', '{"schema": 1, "outputs": {}}'])
def test_model_without_a_whole_record_is_refused(saved: Path, content: str | None) -> None:
    (saved / "record.json").unlink()
    if content is not None:
        (saved / "record.json").write_text(content)
    with pytest.raises(UserError, match=r"record"):
        load_model(saved)


def test_new_model_replaces_the_old_one(saved: Path, tokenizer: Tokenizer) -> None:
    model = build()
    init_weights(model, 1)
    save_model(model, saved, tokenizer=tokenizer, inputs={})
    assert torch.equal(load_model(saved).model.output.weight, model.output.weight)


@pytest.mark.parametrize("limit", [4_000, 60_000])
def test_full_disk_leaves_the_old_model_as_it_was(saved: Path, tokenizer: Tokenizer, limit: int) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match="no space left"):
            save_model(build(), saved, tokenizer=tokenizer, inputs={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]

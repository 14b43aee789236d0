"""What open_lm's files say, and which of them is believed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.core.errors import FormatError
from puna.formats.openlm.params import is_hugging_face, read_settings, training_directories

# open_lm/model_configs/open_lm_1b.json
MODEL = {"hidden_dim": 2048, "n_layers": 24, "n_heads": 16, "seq_len": 2048, "vocab_size": 50432,
         "post_embed_norm": False, "weight_tying": False}  # fmt: skip
# Lines of a params.txt as `main` of open_lm writes it: every argument, sorted, as Python prints it.
PARAMS = """\
accum_freq: 1
attn_activation: None
attn_name: auto
attn_seq_scalar_alpha: None
data_key: json: x
ffn_type: swiglu_torch
lr: 0.001
model: tiny
model_norm: gain_only_layer_norm
moe_freq: 0
positional_embedding_type: rotary
qk_norm: True
train_data: ['pipe:aws s3 cp s3://x -']
"""
SETTINGS = {
    "attn_name": "auto", "ffn_type": "swiglu_torch", "model": "tiny", "model_norm": "gain_only_layer_norm",
    "moe_freq": 0, "positional_embedding_type": "rotary", "qk_norm": True,
}  # fmt: skip


def write(directory: Path, **files: Any) -> Path:
    """JSON files by their stems, and `params`, which is text."""
    directory.mkdir(exist_ok=True, parents=True)
    for name, content in files.items():
        if name == "params":
            (directory / "params.txt").write_text(content)
        else:
            (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def test_model_configuration_and_arguments_are_put_together(tmp_path: Path) -> None:
    said = read_settings(write(tmp_path, tiny=MODEL, params=PARAMS))
    assert said.values == MODEL | SETTINGS
    assert said.files["n_heads"] == tmp_path / "tiny.json"
    assert said.files["qk_norm"] == tmp_path / "params.txt"
    assert said.notes == []


def test_a_trainings_files_lie_above_its_checkpoints(tmp_path: Path) -> None:
    write(tmp_path, tiny=MODEL, params=PARAMS)
    assert training_directories(tmp_path / "checkpoints") == [tmp_path / "checkpoints", tmp_path]
    assert read_settings(write(tmp_path / "checkpoints")).values == MODEL | SETTINGS
    assert read_settings(write(tmp_path / "elsewhere")).values == {}


def test_the_model_configuration_is_believed_before_the_arguments(tmp_path: Path) -> None:
    model = MODEL | {"positional_embedding_type": "head_rotary", "moe_top_k": 2, "frobnicate": 1}
    said = read_settings(write(tmp_path, tiny=model, params=PARAMS))
    assert said.values["positional_embedding_type"] == "head_rotary"
    assert said.notes == ["tiny.json has 'frobnicate', which open_lm does not read"]


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("tiny", {"rotary_old": True}), ("tiny", {"is_causal": True}), ("config", {"attention_bias": True}),
        ("config", {"params_args_dict": {"logit_scale": 0.5}}), ("params", "attn_window: 512\n"),
        ("params", "embedding_multiplier: 12.0\n"), ("params", "use_alibi: True\n"),
    ],
)  # fmt: skip
def test_an_unknown_setting_of_a_part_of_the_decoder_is_refused(tmp_path: Path, file: str, setting: Any) -> None:
    files: dict[str, Any] = {"tiny": MODEL, "config": {"model_type": "openlm"}, "params": PARAMS}
    files[file] = files[file] + setting if file == "params" else files[file] | setting
    with pytest.raises(FormatError, match=r"which open_lm does not have, and which may change what the model") as found:
        read_settings(write(tmp_path, **files))
    assert found.value.hint == "if you know that it changes nothing, remove it from the file"


def test_settings_of_the_training_and_those_that_are_off_are_passed_over(tmp_path: Path) -> None:
    params = (
        PARAMS + "lr_scheduler: cosine\nmy_cluster: a\nmask_padding: False\nrope_factor: None\nnotes: a\nnorm b: c\n"
    )
    assert read_settings(write(tmp_path, tiny=MODEL | {"moe_num_experts": 8}, params=params)).notes == []


def test_names_of_the_dataclass_are_the_same_settings(tmp_path: Path) -> None:
    config = {"model_type": "openlm", "dim": 64, "norm_type": "rms_norm", "apply_qk_norm": True, "norm_eps": 1e-5}
    said = read_settings(write(tmp_path, config=config))
    assert said.values == {"hidden_dim": 64, "model_norm": "rms_norm", "qk_norm": True, "norm_eps": 1e-5}


def test_arguments_nested_in_a_hugging_face_configuration_are_read(tmp_path: Path) -> None:
    nested = {"model": "open_lm_7b", "qk_norm": True, "model_norm": "gain_only_lp_layer_norm", "seq_len": 8192}
    config = {"model_type": "openlm", "params": None, "params_args_dict": nested, "n_heads": 32}
    said = read_settings(write(tmp_path, config=config))
    assert said.values["seq_len"] == 8192  # not the 2048 of open_lm's own open_lm_7b.json
    assert (said.values["hidden_dim"], said.values["qk_norm"]) == (4096, True)
    assert said.notes == [
        "no file says hidden_dim, n_layers, vocab_size, post_embed_norm, weight_tying, so what open_lm's own "
        "open_lm_7b.json says is taken"
    ]


def test_a_model_of_open_lms_own_needs_only_its_name(tmp_path: Path) -> None:
    params = PARAMS.replace("tiny", "open_lm/model_configs/open_lm_1b.json")
    assert {
        key: value for key, value in read_settings(write(tmp_path, params=params)).values.items() if key in MODEL
    } == MODEL
    old = read_settings(write(tmp_path, params=PARAMS.replace("tiny", "open_lm_1b_old"))).values
    assert (old["model_norm"], old["positional_embedding_type"], old["qk_norm"]) == (
        "default_layer_norm", "head_rotary", False,
    )  # fmt: skip
    llama = read_settings(write(tmp_path, params=PARAMS.replace("tiny", "llama2_7b"))).values
    assert (llama["seq_len"], llama["vocab_size"], llama["positional_embedding_type"]) == (4096, 32000, "llama_rotary")


def test_which_of_several_model_configurations_is_meant_must_be_said(tmp_path: Path) -> None:
    write(tmp_path, tiny=MODEL, other=MODEL | {"n_heads": 8}, tokenizer={"version": "1.0"}, params=PARAMS)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "large.json").write_text(json.dumps(MODEL) + " " * 70_000)
    assert read_settings(tmp_path).values["n_heads"] == 16
    write(tmp_path, params="model_norm: rms_norm\n")
    with pytest.raises(FormatError, match=r"has several model configurations \(other.json, tiny.json\)"):
        read_settings(tmp_path)


def test_the_configuration_that_is_named_and_cannot_be_read_is_what_the_error_is_about(tmp_path: Path) -> None:
    write(tmp_path, other=MODEL, params=PARAMS)
    (tmp_path / "tiny.json").write_text(json.dumps(MODEL)[:-1] + ",}")
    with pytest.raises(FormatError, match=r"tiny.json: is not JSON: line 1 has a comma with nothing after it"):
        read_settings(tmp_path)


def test_a_model_configuration_of_another_name_is_noted(tmp_path: Path) -> None:
    said = read_settings(write(tmp_path, other=MODEL, params=PARAMS))
    assert said.values["n_heads"] == 16
    assert said.notes == ["other.json is taken for the model configuration that params.txt names, 'tiny'"]


WRONG = {
    "text for a number": ({"n_heads": "4"}, "tiny.json: n_heads should be int, found '4'"),
    "truth for a number": ({"n_heads": True}, "tiny.json: n_heads should be int, found True"),
    "number for a truth": ({"weight_tying": 1}, "tiny.json: weight_tying should be bool, found 1"),
    "two names": ({"dim": 96}, "tiny.json: dim = 96, but it also says hidden_dim = 2048"),
}


@pytest.mark.parametrize(("changes", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_values_that_make_no_sense_are_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=sentence):
        read_settings(write(tmp_path, tiny=MODEL | changes, params=PARAMS))


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"params.txt: qk_norm should be bool, found 'yes'"):
        read_settings(write(tmp_path, params="qk_norm: yes\n"))
    (tmp_path / "params.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match=r"params.txt: is not UTF-8 text"):
        read_settings(tmp_path)


def test_files_that_say_other_sizes_are_refused(tmp_path: Path) -> None:
    config = {"model_type": "openlm", "n_heads": 8}
    with pytest.raises(FormatError, match=r"config.json: n_heads = 8, but tiny.json says 16"):
        read_settings(write(tmp_path, tiny=MODEL, config=config))


def test_only_open_lms_configuration_is_its_hugging_face_form(tmp_path: Path) -> None:
    assert is_hugging_face(write(tmp_path / "a", config={"model_type": "openlm"}))
    for number, content in enumerate((b'{"model_type": "llama"}', b"[]", b"{", b"\xff", b"[" * 100_000)):
        other = tmp_path / str(number)
        other.mkdir()
        (other / "config.json").write_bytes(content)
        assert not is_hugging_face(other)
    assert not is_hugging_face(tmp_path)


@settings(max_examples=200)
@given(noise=st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")), data=st.data())
def test_damaged_files_give_one_sentence_or_values(
    noise: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = write(tmp_path_factory.getbasetemp() / "damaged-openlm", tiny=MODEL, params=PARAMS)
    broken = directory / data.draw(st.sampled_from(["params.txt", "tiny.json"]))
    whole = broken.read_bytes()
    cut, again = sorted(data.draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
    broken.write_bytes(whole[:cut] + noise.encode() + whole[again:])
    try:
        read_settings(directory)
    except FormatError as error:
        if "\n" in error.message:
            pytest.fail(error.message)

"""Any path becomes a model that answers the same; what is damaged, missing or unknown is a sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hub import fake_hub

import puna
from puna.core.errors import CheckpointError, FormatError, GenerateError
from puna.core.layout import RunDir
from puna.tokenizer.tokenizer import Tokenizer

GREEDY: dict[str, Any] = {"max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def text(tiny_run: RunDir) -> str:
    return puna.load(tiny_run).generate("The people", **GREEDY)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where figures are remembered; operators stay where they were compiled."""
    monkeypatch.setattr("puna.infer.fidelity._home", lambda: tmp_path / "fidelity")
    return tmp_path / "fidelity"


def test_run_and_model_directory_load_as_the_same_model(tiny_run: RunDir) -> None:
    for path in (tiny_run, tiny_run.root, str(tiny_run.root), tiny_run.model):
        model = puna.load(path)
        assert model.path == tiny_run.model
        assert (model.config.dim, model.tokenizer.vocab_size, model.chat_template) == (32, 512, None)
        assert isinstance(model.model, torch.nn.Module)
        assert model.model is model.model
    assert repr(model) == f"<LanguageModel {tiny_run.model}: 51.4k parameters>"


@pytest.mark.parametrize("form", ["hf", "gguf", "llama", "easylm"])
def test_every_format_answers_as_the_model_that_it_was_made_of(
    tiny_run: RunDir, tmp_path: Path, form: str, text: str
) -> None:
    place = puna.export(tiny_run, form, tmp_path / form, quick=True).path
    hints: dict[str, Any] = {}
    if form == "easylm":
        config = puna.load(tiny_run).config
        names = {"heads": "n_heads", "kv_heads": "n_kv_heads", "context": "context", "norm_eps": "norm_eps"}
        hints = {name: getattr(config, field) for name, field in names.items()}
    before = sorted(place.iterdir())
    assert puna.load(place, **hints).generate("The people", **GREEDY) == text
    assert sorted(place.iterdir()) == before


def test_blocks_of_gguf_are_kept_and_other_kinds_say_what_they_take(
    tiny_run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    puna.export(tiny_run, "gguf", tmp_path / "gguf", quick=True, type="Q8_0")
    capsys.readouterr()
    model = puna.load(tmp_path / "gguf" / "model-Q8_0.gguf")
    assert model.runner.title.startswith("int8 kernels")
    assert capsys.readouterr().err == ""
    assert puna.load(tmp_path / "gguf", weights="float32").runner.title.startswith("float32 kernels")


def test_quantized_weights_come_with_what_they_cost(
    tiny_run: RunDir, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = puna.load(tiny_run, weights="int8")
    assert model.runner.title.startswith("int8 kernels")
    said = capsys.readouterr().err
    assert said.startswith("int8: KL 0.0")
    assert said.endswith("on 32 tokens\n")
    (remembered,) = own_cache.iterdir()
    figures = json.loads(remembered.read_text())
    assert figures["perplexity"] == pytest.approx(figures["reference"], rel=0.1)
    remembered.write_text(json.dumps(figures | {"kl": 5.0}))
    puna.load(tiny_run, weights="int8")
    assert "int8: KL 5.0000" in capsys.readouterr().err
    puna.load(tiny_run, weights="int8", measure=False)
    puna.load(tiny_run, weights="bfloat16")
    assert capsys.readouterr().err == ""
    puna.load(tiny_run, weights="int8", cache="float32")
    assert len(list(own_cache.iterdir())) == 2


def test_figures_are_remembered_for_files_as_they_are(tiny_run: RunDir, tmp_path: Path, own_cache: Path) -> None:
    place = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True).path
    puna.load(place, weights="int4")
    puna.load(place, weights="int4")
    assert len(list(own_cache.iterdir())) == 1
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    puna.load(place, weights="int4")
    assert len(list(own_cache.iterdir())) == 2


def test_nothing_damaged_is_answered_from(tiny_run: RunDir, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_run.model, copy)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is damaged"):
        puna.load(copy)
    # The hash comes before what the damage makes impossible.
    weights.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is damaged"):
        puna.load(copy)


def test_damage_of_other_formats_is_what_their_readers_find(tiny_run: RunDir, tmp_path: Path) -> None:
    place = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True).path
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(FormatError, match="is truncated"):
        puna.load(place)


def test_a_name_on_the_hub_is_a_model(
    tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    place = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True).path
    with fake_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        hub.models["owner/name"] = {file.name: file.read_bytes() for file in place.iterdir()}
        assert puna.load("owner/name").generate("The people", **GREEDY) == text
        assert puna.inspect("owner/name@main").format == "hf"
        assert puna.import_model("owner/name") == Path("models/name")


def test_chat_template_comes_with_the_model(tiny_run: RunDir, tmp_path: Path) -> None:
    source, template = tmp_path / "hf", "{{ messages }}\r\n"
    puna.export(tiny_run, "hf", source, quick=True)
    (source / "chat_template.jinja").write_text(template, newline="")
    assert puna.load(source).chat_template == template
    assert puna.load(puna.import_model(source, tmp_path / "model")).chat_template == template


def test_stop_ids_of_the_files_end_a_text(tiny_run: RunDir, tmp_path: Path) -> None:
    place = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True).path
    plain = puna.load(place)
    first = plain.complete("The people", **GREEDY)[0].tokens[0].id
    (place / "generation_config.json").write_text(json.dumps({"eos_token_id": [plain.tokenizer.eos_id, first]}))
    found = puna.load(place).complete("The people", **GREEDY)[0]
    assert (found.text, found.finish, found.stop) == ("", "stop", first)


def test_assumed_values_are_told(tiny_run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True).path
    config = json.loads((place / "config.json").read_text())
    del config["rms_norm_eps"]
    (place / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    puna.load(place)
    assert "config.json has no rms_norm_eps; 1e-06 is assumed" in capsys.readouterr().err


def test_model_without_a_tokenizer_loads_and_says_so_when_asked(tiny_run: RunDir, tmp_path: Path) -> None:
    easylm = puna.export(tiny_run, "easylm", tmp_path / "easylm", quick=True).path
    tokenizer = tmp_path / "tokenizer.model"
    (easylm / "tokenizer.model").rename(tokenizer)
    (easylm / "tokenizer.json").unlink()
    config = puna.load(tiny_run).config
    path = next(easylm.glob("*stream*"))
    hints: dict[str, Any] = {
        "heads": config.n_heads, "kv_heads": config.n_kv_heads, "context": config.context, "norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
    }  # fmt: skip
    model = puna.load(path, **hints)
    assert model.config.dim == config.dim
    assert len(model.complete((1, 5, 7), max_tokens=3)[0].tokens) == 3
    with pytest.raises(CheckpointError, match="has no tokenizer, so the model takes no text"):
        model.generate("x")
    assert puna.load(path, tokenizer=tokenizer, **hints).generate("x", max_tokens=3)


def test_where_there_is_no_model_a_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is not in a format that Puna reads"):
        puna.load(tmp_path)
    with pytest.raises(FormatError, match="nowhere: is not there"):
        puna.load(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has no finished model and no checkpoint yet"):
        puna.load(tmp_path)


def test_incomplete_model_is_refused(tiny_run: RunDir, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True).path
    tensors = load_file(place / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, place / "model.safetensors")
    with pytest.raises(FormatError, match=r"lacks 1 tensor, the first is layers\.1\.feed_forward\.w3\.weight"):
        puna.load(place)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weights": "int3"}, "weights is 'int3', expected one of float32, bfloat16, int8, int4"),
        ({"cache": "int8"}, "cache is 'int8', expected one of float32, float16"),
        ({"device": "gpu"}, "device 'gpu'"),
        ({"threads": 0}, "threads is 0, but must be at least 1"),
    ],
)
def test_choices_that_there_are_not_are_sentences(tiny_run: RunDir, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GenerateError, match=sentence):
        puna.load(tiny_run, **options)


@pytest.mark.parametrize("device_of", ["kernels", "operators"])
def test_guesses_change_no_text(tiny_run: RunDir, text: str, device_of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device_of == "operators":
        monkeypatch.setattr("puna.infer.load.obstacle", lambda config: "it is a test")
    for draft in ("lookup", tiny_run):
        model = puna.load(tiny_run, draft=draft)
        found = model.complete("The people", **GREEDY)[0]
        assert found.text == text
        if draft != "lookup":  # it guesses for itself, and is right
            assert found.accepted_tokens == found.proposed_tokens > 0


def test_a_draft_model_of_another_vocabulary_is_refused(
    tiny_run: RunDir, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = puna.load(tiny_run).tokenizer
    tokenizers = iter([own, tokenizer])
    monkeypatch.setattr("puna.formats.checked_tokenizer.checked_tokenizer", lambda *given: next(tokenizers))
    with pytest.raises(GenerateError, match="needs the vocabulary of the model that it guesses for"):
        puna.load(tiny_run, draft=tiny_run)


def test_threads_are_those_of_the_process(tiny_run: RunDir) -> None:
    before = torch.get_num_threads()
    try:
        puna.load(tiny_run, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

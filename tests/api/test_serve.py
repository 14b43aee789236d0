"""Models as somebody names them, and the loader that makes one in a process."""

import socket
from pathlib import Path
from typing import Any

import pytest

import puna
from puna.api.serve import ModelLoader, read_adapters, read_models
from puna.core.errors import CheckpointError, GenerateError
from puna.serve.run import Settings


@pytest.mark.parametrize(
    ("typed", "name", "path", "options"),
    [
        ("runs/demo", "demo", "runs/demo", {}),
        ("runs/demo@step-400/", "demo@step-400", "runs/demo@step-400/", {}),
        ("SmolLM2.gguf", "SmolLM2", "SmolLM2.gguf", {}),
        ("smol=a/SmolLM2.gguf", "smol", "a/SmolLM2.gguf", {}),
        ("smol-int4=x.gguf,weights=int4,threads=2", "smol-int4", "x.gguf", {"weights": "int4", "threads": 2}),
        ("x.gguf,draft=lookup", "x", "x.gguf", {"draft": "lookup"}),
        ("a,b/model", "model", "a,b/model", {}),
        ("./a=b.gguf", "a=b", "./a=b.gguf", {}),
        ("runs/a=b", "a=b", "runs/a=b", {}),
        ("owner/name", "name", "owner/name", {}),
    ],
)  # fmt: skip
def test_a_model_is_named_by_its_path_alone_or_with_a_name_and_options(
    typed: str, name: str, path: str, options: dict[str, Any]
) -> None:
    assert read_models([typed], {}) == {name: ModelLoader(path, options)}


def test_options_for_all_are_those_of_models_that_do_not_say_otherwise() -> None:
    given = {"weights": "int8", "threads": 1, "cache": None}
    models = read_models(["a=x", "b=x,weights=int4"], given)
    assert models["a"].options == {"weights": "int8", "threads": 1}
    assert models["b"].options == {"weights": "int4", "threads": 1}
    assert list(models) == ["a", "b"]


def test_a_directory_without_a_name_in_its_path_is_called_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(read_models(["."], {})) == [tmp_path.name]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ([], "no model is named"),
        ([""], "names no model"),
        (["a= "], "names no model"),
        (["runs/demo", "models/demo"], "two models are called 'demo': runs/demo and models/demo"),
        (["x,weigths=int4"], "no option 'weigths' of its own\n  hint: did you mean weights?"),
        (["x,port=1"], "hint: there are weights, cache, draft"),
        (["x,threads=0"], "threads is '0', but must be a whole number from 1 on"),
        (["x,threads=two"], "threads is 'two'"),
        (["x,weights="], "weights is empty"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(typed: list[str], sentence: str) -> None:
    with pytest.raises(GenerateError) as caught:
        read_models(typed, {})
    assert sentence in str(caught.value)


def test_adapters_are_of_the_one_model_or_of_the_one_that_is_named() -> None:
    one = read_models(["runs/demo"], {})
    assert read_adapters(["polite=runs/a", "terse=a=b"], one) == {"demo": {"polite": "runs/a", "terse": "a=b"}}
    two = read_models(["a=x", "a:b=y"], {})
    assert read_adapters(["a:b:c=p", "a:d=q"], two) == {"a:b": {"c": "p"}, "a": {"d": "q"}}
    assert read_adapters([], two) == {}


@pytest.mark.parametrize(
    ("typed", "models", "sentence"),
    [
        ("runs/a", ["x"], "--adapter runs/a: has no name for requests\n  hint: write NAME=PATH"),
        ("polite= ", ["x"], "has no name for requests"),
        ("x=runs/a", ["x"], "'x' is the name of another model"),
        (
            "polite=p", ["x", "y"],
            "several models (x, y), and it is for one of them\n  hint: name that one: --adapter x:polite=p",
        ),
    ],
)  # fmt: skip
def test_an_adapter_that_cannot_be_meant_is_a_sentence(typed: str, models: list[str], sentence: str) -> None:
    with pytest.raises(GenerateError) as caught:
        read_adapters([typed], read_models(models, {}))
    assert sentence in str(caught.value)


def test_two_adapters_of_one_name_are_refused() -> None:
    with pytest.raises(GenerateError, match="'p' is the name of another model"):
        read_adapters(["p=a", "p=b"], read_models(["x"], {}))


def test_a_loader_gives_the_engine_and_what_it_is(chat_model: Path) -> None:
    engine, about = ModelLoader(str(chat_model), {"weights": "float32"})()
    assert (about.longest, about.at_once) == (1024, 64)
    assert engine.longest == 1024
    assert about.template is not None
    assert about.tokenizer.vocab_size == about.config.vocab_size
    assert "float32" in about.title


def test_a_model_without_a_tokenizer_is_not_served(chat_model: Path, tmp_path: Path) -> None:
    from puna.model.files import load_model, save_model

    bare = tmp_path / "bare"
    save_model(load_model(chat_model).model, bare, tokenizer=None, inputs={})
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        ModelLoader(str(bare))()


def test_settings_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alice: alices-secret-key-1")
    keys.chmod(0o600)
    seen: list[Settings] = []

    def run(app: object, listener: socket.socket, settings: Settings, *more: object) -> None:
        listener.close()
        seen.append(settings)

    monkeypatch.setattr("puna.serve.run.run", run)
    puna.serve(
        "nowhere", port=0, keys=keys, allow_host=["a.example"], allow_origin=["https://b.example"],
        requests_per_minute=6, grace=7,
    )  # fmt: skip
    (settings,) = seen
    assert settings.keys is not None
    assert settings.keys.caller([b"Bearer alices-secret-key-1"]).name == "alice"
    assert (settings.allow_hosts, settings.allow_origins) == (("a.example",), ("https://b.example",))
    assert (settings.grace_s, settings.limits.requests_per_minute) == (7, 6)


def test_who_serves_a_run_that_has_learned_to_chat_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("puna.serve.run.run", lambda app, listener, *more: listener.close())
    for model in (tmp_path / "run" / "model", tmp_path / "run" / "chat" / "model"):
        model.mkdir(parents=True)
        (model / "model.toml").touch()
        puna.serve(tmp_path / "run", port=0)
    puna.serve(tmp_path / "run" / "chat", port=0)
    run = tmp_path / "run"
    said = f"{run}: continues texts; {run / 'chat'} has learned to answer since: `puna serve {run / 'chat'}`"
    assert [line for line in capsys.readouterr().err.splitlines() if "learned" in line] == [said]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("request_seconds", 0, "request_seconds is 0, but must be more than 0\n  hint: None is without end"),
        ("request_seconds", float("inf"), "request_seconds is inf"),
        ("unload_after", -1, "unload_after is -1, but must be at least 0"),
        ("grace", float("nan"), "grace is nan"),
        ("max_queue", 0, "max_queue is 0, but must be at least 1"),
        ("requests_at_once", 0, "requests_at_once is 0, but must be at least 1"),
        ("requests_per_minute", 6, "requests_per_minute is of each key, and there are none"),
    ],
)
def test_a_number_that_serves_nobody_is_refused(name: str, value: float, sentence: str) -> None:
    limits: Any = {name: value}
    with pytest.raises(GenerateError) as caught:
        puna.serve("nowhere", port=0, **limits)
    assert sentence in str(caught.value)

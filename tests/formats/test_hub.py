"""Models by their names on the hub, which is a server on loopback here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import COMMIT, FakeHub, fake_hub

from puna.core.errors import FormatError
from puna.core.hub_name import HubName, hub_name
from puna.formats.hub import fetch, needed

pytest.importorskip("huggingface_hub")

ROOT = Path(__file__).parents[2]
SAFETENSORS = {"config.json": b"{}", "tokenizer.model": b"pieces", "model.safetensors": b"weights"}
OTHERS = {
    "pytorch_model.bin": b"pickle",
    "README.md": b"#",
    "onnx/model.onnx": b"graph",
    "original/consolidated.00.pth": b"archive",
    "original/params.json": b"{}",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    with fake_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def named(text: str) -> HubName:
    name = hub_name(text)
    assert name is not None
    return name


def test_only_what_a_reader_needs_is_fetched_and_once(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.models["owner/name"] = SAFETENSORS | OTHERS
    place = fetch(named("owner/name"))
    assert {path.name: path.read_bytes() for path in place.iterdir()} == SAFETENSORS
    assert sorted(hub.fetched) == sorted(SAFETENSORS)
    assert f"owner/name: fetches 3 files, 15 B, from {hub.endpoint}" in capsys.readouterr().err
    assert fetch(named(f"owner/name@{COMMIT}")) == place
    assert len(hub.fetched) == 3
    assert capsys.readouterr().err == ""


def test_an_index_says_which_weights_are_fetched(hub: FakeHub) -> None:
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors", "c": "part-1.safetensors"}}
    files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()}
    pieces = {"part-1.safetensors": b"1", "part-2.safetensors": b"2"}
    hub.models["owner/name"] = files | pieces | {"other.safetensors": b"3", "pytorch_model.bin.index.json": b"{}"}
    place = fetch(named("owner/name"))
    assert {path.name for path in place.iterdir()} == files.keys() | pieces.keys()
    del hub.models["owner/name"]["part-2.safetensors"]
    hub.models["owner/other"] = hub.models["owner/name"]
    with pytest.raises(FormatError, match=r"names 'part-2.safetensors', which the repository does not have"):
        fetch(named("owner/other"))


@pytest.mark.parametrize("index", [b"{}", b'{"weight_map": []}', b"["])
def test_a_damaged_index_is_a_sentence(hub: FakeHub, index: bytes) -> None:
    hub.models["owner/name"] = {"config.json": b"{}", "model.safetensors.index.json": index}
    with pytest.raises(FormatError, match=r"index\.json: "):
        fetch(named("owner/name"))


def test_a_file_that_is_named_comes_with_what_describes_it(hub: FakeHub) -> None:
    hub.models["owner/name"] = {"a.gguf": b"a", "b.gguf": b"b", "tokenizer.json": b"{}"}
    place = fetch(named("owner/name/b.gguf"))
    assert (place.name, place.read_bytes()) == ("b.gguf", b"b")
    assert sorted(hub.fetched) == ["b.gguf", "tokenizer.json"]
    with pytest.raises(FormatError, match=r"has no file 'c.gguf'; it has a.gguf, b.gguf, tokenizer.json"):
        fetch(named("owner/name/c.gguf"))
    with pytest.raises(FormatError, match=r"has 2 GGUF models: a.gguf, b.gguf\n.*name one: owner/name/a.gguf"):
        fetch(named("owner/name"))


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["pytorch_model.bin", "config.json", "tf_model.h5"], ["pytorch_model.bin"]),
        (["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"], ["pytorch_model.bin.index.json"]),
        (["consolidated.01.pth", "consolidated.00.pth", "params.json"], ["consolidated.01.pth", "consolidated.00.pth"]),
        (["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]),
        (["epoch_9.pt", "epoch_10.pt", "params.txt"], ["epoch_10.pt"]),
        (["model.bin", "tokenizer.model"], ["model.bin"]),
        (["model.toml", "record.json", "model.safetensors"], ["model.safetensors"]),
        (["README.md", "folder/model.safetensors"], []),
    ],
)
def test_each_format_has_its_files(files: list[str], taken: list[str]) -> None:
    assert needed(files)[0] == taken


def test_settings_are_those_beside_the_weights_and_at_the_top() -> None:
    files = ["config.json", "f/w.gguf", "f/tokenizer.json", "g/tokenizer.json", "x.json", "a.safetensors.index.json"]
    assert needed(files, "f/w.gguf") == (["f/w.gguf"], ["config.json", "f/tokenizer.json", "x.json"])


def test_a_model_that_the_hub_does_not_have_is_a_sentence(hub: FakeHub) -> None:
    with pytest.raises(FormatError, match=rf"owner/none: is neither a path here nor a model on {hub.endpoint}"):
        fetch(named("owner/none"))
    hub.models["owner/name"] = SAFETENSORS
    with pytest.raises(FormatError, match="owner/name@v9: has no revision 'v9'"):
        fetch(named("owner/name@v9"))


def test_a_gated_model_needs_a_token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.models["owner/name"] = SAFETENSORS
    hub.gated.add("owner/name")
    with pytest.raises(FormatError, match=r"is gated(.|\n)*HF_TOKEN"):
        fetch(named("owner/name"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert (fetch(named("owner/name")) / "model.safetensors").read_bytes() == b"weights"


def test_a_repository_without_weights_is_a_sentence(hub: FakeHub) -> None:
    hub.models["owner/name"] = {"README.md": b"#", "model.onnx": b"graph"}
    with pytest.raises(FormatError, match=r"holds no weights in a format that Puna reads; it has README.md, model.o"):
        fetch(named("owner/name"))
    assert hub.fetched == []


def test_without_the_hub_the_cache_answers_or_a_sentence(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.models["owner/name"] = SAFETENSORS
    place = fetch(named("owner/name"))
    capsys.readouterr()
    for away in ("down", "no network"):
        if away == "down":
            hub.down = True
        else:
            monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        assert fetch(named("owner/name")) == place
        assert "cannot be reached, so what was fetched of it before is taken" in capsys.readouterr().err
        with pytest.raises(FormatError, match=r"owner/other: is not a path here, and http://127.* could not be asked"):
            fetch(named("owner/other"))


def test_the_environment_says_where_the_hub_is_and_who_asks(hub: FakeHub, tmp_path: Path) -> None:
    hub.models["owner/name"] = SAFETENSORS
    hub.gated.add("owner/name")
    code = "import sys; from puna.core.hub_name import hub_name as name; from puna.formats.hub import fetch; "
    code += "print(fetch(name(sys.argv[1])))"
    environment = os.environ | {"HF_TOKEN": "secret", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-W", "error", "-c", code, "owner/name"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "home")
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "other")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "HF_HUB_OFFLINE forbids to look for it" in done.stderr

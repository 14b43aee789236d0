"""An index decides which tensor is in which file, and leads nowhere else."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from puna.core.errors import FormatError
from puna.formats.containers.safetensors import INDEX, ShardedSafetensors
from puna.formats.containers.sharded_pth import INDEX as PTH_INDEX
from puna.formats.containers.sharded_pth import ShardedPth
from puna.formats.containers.shards import TensorFiles

KINDS = {"safetensors": (ShardedSafetensors, save_file, INDEX), "bin": (ShardedPth, torch.save, PTH_INDEX)}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of file in turn."""
    return request.param


def save(directory: Path, kind: str, files: dict[str, dict[str, int]], index: dict[str, Any]) -> None:
    """Files of tensors that hold one number, and an index of them."""
    for file, tensors in files.items():
        path = directory / f"{file}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind][1]({name: torch.tensor([float(number)]) for name, number in tensors.items()}, path)
    weight_map = {
        name: f"{file}.{kind}" if file not in (None, 3, "", "..", ["one"]) else file for name, file in index.items()
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / KINDS[kind][2]).write_text(json.dumps({"weight_map": weight_map}))


def read(directory: Path, kind: str) -> dict[str, float]:
    opened: TensorFiles = KINDS[kind][0](directory)
    return {name: opened.tensor(name).item() for name in opened.names}


def test_a_tensor_in_two_files_is_that_of_the_file_that_the_index_says(tmp_path: Path, kind: str) -> None:
    files = {"m-1": {"a": 1, "b": 2}, "m-2": {"a": 3, "b": 4, "c": 5}}
    save(tmp_path, kind, files, {"a": "m-2", "b": "m-1", "c": "m-2"})
    assert read(tmp_path, kind) == {"a": 3, "b": 2, "c": 5}


def test_a_tensor_that_the_index_does_not_name_may_be_in_one_file_only(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind, {"m-1": {"a": 1, "x": 2}, "m-2": {"b": 3}}, {"a": "m-1", "b": "m-2"})
    assert read(tmp_path, kind) == {"a": 1, "x": 2, "b": 3}
    save(tmp_path, kind, {"m-2": {"b": 3, "x": 4}}, {"a": "m-1", "b": "m-2"})
    with pytest.raises(FormatError, match=rf"m-2.{kind}: has x, which m-1.{kind} has too"):
        read(tmp_path, kind)


@pytest.mark.parametrize("name", ["parts/one", "日本 gewichte-1", "./one", "deep/er/one"])
def test_files_may_lie_in_directories_below_and_have_any_name(tmp_path: Path, kind: str, name: str) -> None:
    save(tmp_path, kind, {name: {"a": 1}}, {"a": name})
    assert read(tmp_path, kind) == {"a": 1}


@pytest.mark.parametrize(
    "name",
    [
        "../other/one",
        "sub/../../other/one",
        "..",
        "/etc/passwd",
        "",
        "a\\b",
        "a\nb",
        "a\0b",
        "a" * 500,
        3,
        None,
        ["one"],
    ],
)
def test_a_name_that_leads_out_of_the_directory_is_refused(tmp_path: Path, kind: str, name: Any) -> None:
    save(tmp_path / "other", kind, {"one": {"a": 1}}, {"a": "one"})
    save(tmp_path / "model", kind, {"one": {"b": 1}}, {"b": "one", "a": name})
    with pytest.raises(FormatError, match=rf"is said to be in .*, which is not the name of a {kind} file here"):
        read(tmp_path / "model", kind)


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_a_link_that_leads_out_of_the_directory_is_refused(tmp_path: Path, kind: str, linked: str) -> None:
    save(tmp_path / "other", kind, {"one": {"a": 1}}, {"a": "one"})
    save(tmp_path / "model", kind, {}, {"a": "sub/one" if linked == "directory" else "two"})
    if linked == "directory":
        (tmp_path / "model" / "sub").symlink_to(tmp_path / "other")
    else:
        (tmp_path / "model" / f"two.{kind}").symlink_to(tmp_path / "other" / f"one.{kind}")
    with pytest.raises(FormatError, match="which is outside of the directory of") as caught:
        read(tmp_path / "model", kind)
    assert caught.value.hint == "put the file itself there instead of a link"


def test_a_link_within_the_directory_and_one_to_the_store_of_a_cache_are_followed(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind, {"real/one": {"a": 1}}, {"a": "one"})
    (tmp_path / f"one.{kind}").symlink_to(Path("real") / f"one.{kind}")
    assert read(tmp_path, kind) == {"a": 1}
    snapshot = tmp_path / "models--x--y" / "snapshots" / "0123"
    save(snapshot, kind, {"../../blobs/abc": {"a": 2}}, {"a": "one"})
    (snapshot / f"one.{kind}").symlink_to(Path("../../blobs") / f"abc.{kind}")
    assert read(snapshot, kind) == {"a": 2}


def test_links_in_a_circle_and_pipes_are_one_sentence(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind, {}, {"a": "one"})
    (tmp_path / f"one.{kind}").symlink_to(f"one.{kind}")
    with pytest.raises(FormatError, match=rf"one.{kind}: is missing"):
        read(tmp_path, kind)
    (tmp_path / f"one.{kind}").unlink()
    os.mkfifo(tmp_path / f"one.{kind}")
    with pytest.raises(FormatError, match="is a named pipe, not a regular file"):
        read(tmp_path, kind)

"""What is a name on the hub, and what is a path."""

from pathlib import Path

import pytest

from puna.core.hub_name import HubName, hub_name


def named(text: str) -> HubName:
    name = hub_name(text)
    assert name is not None
    return name


def test_names_have_an_owner_a_revision_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named("owner/name") == HubName("owner/name", "main", None)
    assert named("owner/name@refs%2Fpr%2F1") == HubName("owner/name", "refs/pr/1", None)
    assert named("owner/name@v1/folder/m.gguf") == HubName("owner/name", "v1", "folder/m.gguf")
    assert str(named("owner/name@v1/folder/m.gguf")) == "owner/name@v1/folder/m.gguf"
    assert str(named("owner/name")) == "owner/name"
    for path in ("name", "/owner/name", "./owner/name", "../name", "~/name", "owner/", "a b/c", "owner/name@"):
        assert hub_name(path) is None, path


def test_what_exists_here_and_what_is_in_a_directory_that_exists_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    assert hub_name(Path("runs/demo")) is None
    assert hub_name(Path("runs/dmeo")) is None
    assert named("runs/dmeo@main").repository == "runs/dmeo"


def test_a_name_in_a_file_may_be_a_path_of_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "models" / "base").mkdir(parents=True)
    assert hub_name("models/base", tmp_path) is None
    assert hub_name("models/bse", tmp_path) is None
    assert hub_name("owner/name", tmp_path) == HubName("owner/name", "main", None)


@pytest.mark.parametrize("moment", ["step-400", "400", "last", "best"])
def test_a_moment_of_a_run_is_not_a_revision_where_there_are_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(f"runs/dmeo@{moment}") == HubName("runs/dmeo", moment, None)
    (tmp_path / "runs").mkdir()
    assert hub_name(f"runs/dmeo@{moment}") is None

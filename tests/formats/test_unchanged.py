"""Sources that change while they are read."""

import os
from pathlib import Path

import pytest

from puna.core.errors import FormatError
from puna.formats.unchanged import check_unchanged, file_states


def test_files_that_stay_and_new_neighbours_are_not_a_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = file_states(tmp_path)
    (tmp_path / "new").touch()
    (tmp_path / "exports").mkdir()
    check_unchanged(before)
    assert list(before) == [tmp_path / "a"]
    assert file_states(tmp_path / "nothing") == {}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("change", ["write", "replace", "delete"])
def test_a_changed_file_is_named(tmp_path: Path, change: str, whole: bool) -> None:
    file, other = tmp_path / "a", tmp_path / "other"
    file.write_text("1")
    before = file_states(tmp_path if whole else file)
    if change == "write":
        file.write_text("2")
        os.utime(file, ns=(1, 1))
    elif change == "replace":
        other.write_text("1")
        other.replace(file)
    else:
        file.unlink()
    with pytest.raises(FormatError, match="a: was changed while"):
        check_unchanged(before)

"""What installed packages add, found by their metadata as `pip` writes it."""

import sys
from pathlib import Path

import pytest

from puna.core.errors import UserError
from puna.core.plugins import load_plugins

GROUP = "puna.tests"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a distribution with one module and entry points: `install("name", "module's source", "a = name:A")`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(name: str, source: str, *points: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(points))
        monkeypatch.delitem(sys.modules, name, raising=False)

    return installed


def test_objects_are_found_by_their_names_in_order(install) -> None:
    assert load_plugins(GROUP, int) == {}
    install("first_package", "B, A = 2, 1", "b = first_package:B", "a = first_package:A")
    install("second_package", "C = 3", "c = second_package:C")
    assert list(load_plugins(GROUP, int).items()) == [("a", 1), ("b", 2), ("c", 3)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise RuntimeError('broken\\nin two')", "cannot be imported: RuntimeError: broken in two"),
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError: No module named"),
        ("B = 1", "cannot be imported: AttributeError: "),
        ("A = 'text'", "is str, expected int"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_that_names_its_distribution(install, source: str, expected: str) -> None:
    install("bad_package", source, "a = bad_package:A")
    with pytest.raises(UserError) as caught:
        load_plugins(GROUP, int)
    assert caught.value.message.startswith(f"{GROUP}: 'a' of the distribution 'bad_package' {expected}")
    assert "\n" not in caught.value.message


def test_a_name_that_two_packages_give_is_refused(install) -> None:
    install("one_package", "A = 1", "a = one_package:A")
    install("other_package", "A = 2", "a = other_package:A")
    with pytest.raises(UserError, match=r"'a' of the distribution '(one|other)_package' has the name of another one"):
        load_plugins(GROUP, int)

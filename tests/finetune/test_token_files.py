"""Files of examples that are missing, damaged or of another version end in a sentence."""

import json
import shutil
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.finetune.token_files import Examples

SOURCES = ["talks", "tasks"]


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """Files that a test may damage."""
    shutil.copytree(written, tmp_path / "copied")
    return tmp_path / "copied"


def test_sources_are_in_the_order_that_is_asked_for(written: Path):
    one, other = (Examples.open(written, "train", names) for names in (SOURCES, SOURCES[::-1]))
    assert [other.id(number) for number in range(50)] == [one.id(number) for number in range(70, 120)]
    assert one.fingerprint != other.fingerprint
    (document,), (same,) = one.read([70])[0], other.read([0])[0]
    assert document.ids.tolist() == same.ids.tolist()


def test_a_directory_without_a_manifest_is_not_finished(copied: Path):
    (copied / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json: is missing, so the run's examples are not written"):
        Examples.open(copied, "train", SOURCES)


@pytest.mark.parametrize(
    ("text", "found"), [("{", "is damaged"), ("[]", "is damaged"), ('{"format": "x"}', "is damaged")]
)
def test_a_damaged_manifest_is_refused(copied: Path, text: str, found: str):
    (copied / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=found):
        Examples.open(copied, "train", SOURCES)


def test_another_version_is_refused(copied: Path):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(DataError, match="is of version 2, and this Puna reads version 1"):
        Examples.open(copied, "train", SOURCES)


@pytest.mark.parametrize("kind", [".tokens", ".documents", ".ids"])
def test_a_file_that_is_missing_or_changed_is_named(copied: Path, kind: str):
    path = copied / f"train-00000{kind}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"train-00000{kind}: is missing or damaged"):
        Examples.open(copied, "train", SOURCES, verify=True)
    path.unlink()
    with pytest.raises(DataError, match=rf"train-00000{kind}: is missing or not whole"):
        Examples.open(copied, "train", SOURCES)


def test_a_file_that_shrinks_later_is_named(copied: Path):
    examples = Examples.open(copied, "train", SOURCES)
    (copied / "train-00000.tokens").write_bytes(b"")
    with pytest.raises(DataError, match=r"train-00000\.tokens: ends within the"):
        examples.read([0])

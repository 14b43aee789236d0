import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.shards.format import MANIFEST, read_manifest, rebuild, token_dtype
from puna.shards.shards import TokenShards


@pytest.fixture
def directory(write_tokens) -> Path:
    return write_tokens([[5, 6, 7], [8] * 20, [9]], shard_tokens=10).directory


def _rewrite(directory: Path, manifest: Any) -> None:
    (directory / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(("vocab_size", "dtype"), [(260, "<u2"), (65536, "<u2"), (65537, "<u4"), (2**31 - 1, "<u4")])
def test_ids_take_two_bytes_while_they_fit(vocab_size: int, dtype: str):
    assert token_dtype(vocab_size) == np.dtype(dtype)


def test_the_files_are_laid_out_as_the_docstring_says(directory: Path):
    manifest = read_manifest(directory)
    assert [shard["tokens"] for shard in manifest["shards"]] == [5, 22, 3]
    assert (directory / "tokens-00000.bin").read_bytes() == bytes([1, 0, 5, 0, 6, 0, 7, 0, 2, 0])
    origins = [json.loads(line) for line in (directory / "origins-00001.jsonl").read_text().splitlines()]
    assert origins == [{"id": "1.txt", "origin": "shelf: 1.txt"}]
    row = bytes(8) + (22).to_bytes(8, "little") + (60).to_bytes(8, "little") + bytes(8)
    assert (directory / "documents-00001.bin").read_bytes() == row


def test_a_missing_manifest_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"prose: holds no token shards \(there is no manifest\.json\)"):
        read_manifest(tmp_path / "prose")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"format": "x"}', b"[" * 100_000])
def test_a_damaged_manifest_is_named(directory: Path, content: bytes):
    (directory / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json: is damaged"):
        read_manifest(directory)


@pytest.mark.parametrize("change", [{"version": 1}, {"version": "2"}, {"format": "other"}])
def test_another_format_or_version_is_refused_and_both_are_named(directory: Path, change: dict[str, Any]):
    _rewrite(directory, read_manifest(directory) | change)
    with pytest.raises(DataError, match=r"is '.*' version .*this version of Puna reads 'puna-token-shards' 2"):
        read_manifest(directory)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested JSON, the whole left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ((*path, key), *_places(inner, (*path, key)))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(data=st.data())
def test_no_change_of_a_manifest_ends_in_anything_but_a_sentence(directory: Path, data: st.DataObject):
    original = (directory / MANIFEST).read_bytes()
    manifest = target = json.loads(original)
    *parents, last = data.draw(st.sampled_from(_places(manifest)))
    for key in parents:
        target = target[key]
    if data.draw(st.booleans()):
        del target[last]
    else:
        target[last] = data.draw(st.sampled_from([None, -1, 0, 1.5, 10**30, "x", "../x", [], {}, [1], {"a": 1}, True]))
    _rewrite(directory, manifest)
    refused = _refusal(directory)
    assert refused is None or refused.startswith(str(directory))
    (directory / MANIFEST).write_bytes(original)


def _refusal(directory: Path) -> str | None:
    try:
        TokenShards.open(directory, verify=True).read(0, 30)
    except DataError as error:
        return error.message
    return None


def test_the_hint_for_damaged_data_is_the_command_that_builds_them_again(tiny_data: DataDir, tmp_path: Path) -> None:
    root = tiny_data.root
    expected = f"build the data again: `puna data build {root}/config.toml --data-dir {root} --force`"
    assert rebuild(tiny_data.shards / "prose" / "train" / "manifest.json") == expected
    assert rebuild(tiny_data.card) == rebuild(f"{tiny_data.documents}") == expected
    assert rebuild("s3://bucket/data/demo/shards") == rebuild(tmp_path / "shards") == "build the data again"

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.shards.shards import TokenShards

DOCUMENTS = [[100 * number + place for place in range(number % 7 + 1)] for number in range(1, 60)]
STREAM = [token for ids in DOCUMENTS for token in (1, *ids, 2)]


@pytest.fixture(params=[3, 40, 10**6])
def shards(request: pytest.FixtureRequest, write_tokens) -> TokenShards:
    return write_tokens(DOCUMENTS, shard_tokens=request.param)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(data=st.data())
def test_any_stretch_reads_as_it_was_written(shards: TokenShards, data: st.DataObject):
    start = data.draw(st.integers(0, len(STREAM)))
    count = data.draw(st.integers(0, len(STREAM) - start))
    assert shards.read(start, count).tolist() == STREAM[start : start + count]


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (0, len(STREAM) + 1), (len(STREAM), 1), (3, -1)])
def test_reading_beyond_the_ends_is_an_error(shards: TokenShards, start: int, count: int):
    with pytest.raises(IndexError, match=f"of {len(STREAM)}"):
        shards.read(start, count)


def test_ids_beyond_16_bits_come_back(write_tokens):
    shards = write_tokens([[70_000, 3, 2**20]], vocab_size=2**21)
    assert shards.read(0, 5).tolist() == [1, 70_000, 3, 2**20, 2]


def test_every_token_belongs_to_its_document(shards: TokenShards):
    start = 0
    for number, ids in enumerate(DOCUMENTS):
        for position in (start, start + len(ids) + 1):
            expected = ({"id": f"{number}.txt", "origin": f"shelf: {number}.txt"}, start, len(ids) + 2)
            assert shards.document_at(position) == expected
        start += len(ids) + 2
    with pytest.raises(IndexError):
        shards.document_at(len(STREAM))


def test_counts_are_those_of_the_documents(shards: TokenShards):
    assert (shards.tokens, shards.documents) == (len(STREAM), len(DOCUMENTS))
    assert shards.text_bytes == 3 * sum(map(len, DOCUMENTS))


def test_what_is_read_is_the_readers_own(write_tokens):
    shards = write_tokens(DOCUMENTS)
    shards.read(5, 9)[:] = 0
    assert shards.read(5, 9).tolist() == STREAM[5:14]


def test_the_fingerprint_changes_with_a_token_and_not_with_an_origin(write_tokens):
    reference = write_tokens(DOCUMENTS).fingerprint
    assert write_tokens(DOCUMENTS, name="renamed").fingerprint == reference
    assert write_tokens([*DOCUMENTS[:-1], [5]]).fingerprint != reference
    assert write_tokens(DOCUMENTS, vocab_size=70_000).fingerprint != reference


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_thousands_of_files_need_few_descriptors(write_tokens):
    shards = write_tokens([[7] * 10] * 300, shard_tokens=12)
    before = len(os.listdir("/proc/self/fd"))
    for start in range(0, shards.tokens, 12):
        assert shards.read(start, 12).tolist() == [1, *[7] * 10, 2]
    assert len(os.listdir("/proc/self/fd")) - before <= 64


def test_a_truncated_file_is_refused_with_both_sizes(shards: TokenShards):
    path = shards.directory / "tokens-00000.bin"
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(DataError, match=rf"tokens-00000\.bin: has {size - 1} bytes instead of {size}") as error:
        TokenShards.open(shards.directory)
    assert error.value.hint == "build the data again"


@pytest.mark.parametrize("name", ["tokens-00000.bin", "documents-00000.bin", "origins-00000.jsonl"])
def test_a_flipped_bit_is_found_by_the_checksum(shards: TokenShards, name: str):
    path = shards.directory / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    TokenShards.open(shards.directory)  # sizes alone do not tell
    with pytest.raises(DataError, match=f"{name}: is damaged, its SHA-256 is not the one written with it"):
        TokenShards.open(shards.directory, verify=True)


def test_a_missing_file_is_named(shards: TokenShards):
    (shards.directory / "origins-00000.jsonl").unlink()
    with pytest.raises(DataError, match=r"origins-00000\.jsonl: is missing"):
        TokenShards.open(shards.directory)


def test_a_file_that_vanishes_after_opening_is_named(shards: TokenShards):
    for path in shards.directory.glob("*.bin"):
        path.unlink()
    with pytest.raises(DataError, match=r"tokens-00000\.bin: cannot be read \(No such file"):
        shards.read(0, 1)
    with pytest.raises(DataError, match=r"documents-00000\.bin: cannot be mapped into memory"):
        shards.document_at(0)


def test_a_damaged_origin_is_named(write_tokens):
    shards = write_tokens(DOCUMENTS)
    path = shards.directory / "origins-00000.jsonl"
    size = path.stat().st_size
    path.write_bytes(b"\xff" * size)
    with pytest.raises(DataError, match=r"origins-00000\.jsonl: the line from byte 0 on is damaged"):
        shards.document_at(0)
    os.truncate(path, 3)
    with pytest.raises(DataError, match=r"origins-00000\.jsonl: ends within the \d+ bytes from 0 on"):
        shards.document_at(0)


def test_a_damaged_index_is_an_error_and_no_crash(write_tokens):
    shards = write_tokens(DOCUMENTS)
    path = shards.directory / "documents-00000.bin"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(DataError, match=r"origins-00000\.jsonl: the line from byte \d+ on is damaged"):
        shards.document_at(3)


def test_a_shard_that_the_manifest_does_not_name_is_refused(shards: TokenShards):
    (shards.directory / "tokens-00099.bin").write_bytes(b"\0\0")
    with pytest.raises(DataError, match=r"tokens-00099\.bin: is not in the manifest") as error:
        TokenShards.open(shards.directory)
    assert error.value.hint.startswith("delete it")


def test_shards_of_another_tokenizer_are_refused_and_both_are_named(shards: TokenShards):
    assert TokenShards.open(shards.directory, tokenizer_sha256="a" * 64).tokens == len(STREAM)
    with pytest.raises(DataError, match=r"was written with the tokenizer a{12}, not with b{12}"):
        TokenShards.open(shards.directory, tokenizer_sha256="b" * 64)


def test_a_directory_without_shards_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="holds no token shards"):
        TokenShards.open(tmp_path)


def test_tokens_equal_an_independent_reading_of_the_files(shards: TokenShards):
    files = sorted(shards.directory.glob("tokens-*.bin"))
    assert np.concatenate([np.fromfile(path, "<u2") for path in files]).tolist() == STREAM

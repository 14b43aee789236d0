"""One file of documents becomes its part of a split's shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.data.document import Document
from puna.data.document_files import LinesWriter, document_fields
from puna.data.stages import tokens
from puna.data.stages.tokens import Tokenize
from puna.shards.shards import TokenShards
from puna.shards.writer import join_parts
from puna.tokenizer.tokenizer import Tokenizer

DOCUMENTS = [Document("poems", f"{n}.txt", f"Tyger {n} Tügers, burning " * (n % 4 + 1), "shelf") for n in range(12)]


@pytest.fixture
def task(out: DataDir, tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., Tokenize]:
    """Makes the task of a file with the documents, and keeps the tokenizer where it is looked for."""
    path = tmp_path / "documents.jsonl.zst"
    with LinesWriter(path) as file:
        for document in DOCUMENTS:
            file.write(document_fields(document))
    out.tokenizer.mkdir(parents=True)
    (out.tokenizer / "tokenizer.model").write_bytes(tokenizer.content)

    def make(**changed: Any) -> Tokenize:
        fields: dict[str, Any] = {
            "work": out.work, "out": out, "source": "poems", "split": "train", "documents": path,
            "size": path.stat().st_size, "sha256": sha256_file(path), "made_by": "finish", "shard_tokens": 60,
            "threads": 1,
        }  # fmt: skip
        return Tokenize(**fields | changed)

    return make


def shards_of(task: Tokenize, out: Path, tokenizer: Tokenizer) -> TokenShards:
    join_parts(
        out, [task.part()], tokenizer, source="poems", split="train", shard_tokens=task.shard_tokens,
        documents_sha256=task.sha256,
    )  # fmt: skip
    return TokenShards.open(out, tokenizer_sha256=tokenizer.sha256, verify=True)


def test_a_part_holds_every_document_between_its_marks_in_order(task, tmp_path: Path, tokenizer: Tokenizer):
    (one := task()).run()
    assert one.is_done
    shards = shards_of(one, tmp_path / "shards", tokenizer)
    expected = [tokenizer.encode(document.text, bos=True, eos=True) for document in DOCUMENTS]
    assert shards.read(0, shards.tokens).tolist() == [token for ids in expected for token in ids]
    at = np.cumsum([0, *map(len, expected)]).tolist()
    for number, document in enumerate(DOCUMENTS):
        entry = {"id": document.id, "origin": document.origin}
        assert shards.document_at(at[number]) == (entry, at[number], len(expected[number]))
    part = one.part()
    assert len(part.shards) > 2
    assert sum(shard["documents"] for shard in part.shards) == 12
    assert all(shard["tokens"] <= 60 or shard["documents"] == 1 for shard in part.shards)
    assert part.text_bytes == sum(len(document.text.encode()) for document in DOCUMENTS)
    assert {name: sha256_file(part.directory / name) for name in part.hashes} == part.hashes


@pytest.mark.parametrize(("characters", "threads"), [(1, 1), (100, 2)])
def test_batches_and_threads_change_no_byte(
    task, monkeypatch: pytest.MonkeyPatch, characters: int, threads: int
):  # fmt: skip
    (whole := task()).run()
    monkeypatch.setattr(tokens, "_BATCH_CHARACTERS", characters)
    sizes: list[int] = []
    encode = Tokenizer.encode_arrays

    def counted(self: Tokenizer, texts: list[str], *, threads: int = 1) -> Any:
        sizes.append(len(texts))
        return encode(self, texts, threads=threads)

    monkeypatch.setattr(Tokenizer, "encode_arrays", counted)
    (parts := task(made_by="other", threads=threads)).run()
    assert parts.directory != whole.directory
    assert parts.hashes() == whole.hashes()
    assert parts.results() == whole.results()
    assert sum(sizes) == 12
    assert max(sizes) < 12


def test_another_tokenizer_means_that_it_is_not_done(task, out: DataDir, byte_tokenizer: Tokenizer):
    (one := task()).run()
    assert task().is_done
    before = one.hashes()
    (out.tokenizer / "tokenizer.model").unlink()
    assert not one.is_done
    (out.tokenizer / "tokenizer.json").write_bytes(byte_tokenizer.content)
    assert not one.is_done
    assert task().directory == one.directory
    one.run()
    assert one.failure() is None
    assert one.is_done
    assert one.results()["tokenizer"] == sha256_file(out.tokenizer / "tokenizer.json")
    assert one.hashes() != before


def test_what_was_left_by_an_earlier_attempt_is_not_part_of_it(task):
    one = task()
    one.directory.mkdir(parents=True)
    (one.directory / "tokens-00099.bin").write_bytes(b"left over")
    one.run()
    assert "tokens-00099.bin" not in one.hashes()
    assert not (one.directory / "tokens-00099.bin").exists()


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_documents_that_are_not_those_of_the_listing_are_refused(task, out: DataDir, damage: str):
    one = task()
    if damage == "changed":
        one.documents.write_bytes(one.documents.read_bytes()[:-1])
    else:
        one.documents.unlink()
    one.run()
    failure = one.failure()
    assert failure is not None
    assert failure.message.startswith(f"{one.documents}: is missing, or is not the file that files.json")
    assert str(out.documents) in failure.hint
    assert not one.is_done


def test_a_file_whose_hash_nobody_knew_yet_is_taken_as_it_is(task):
    (one := task(sha256="")).run()
    assert one.is_done
    assert one.directory == task().directory


def test_a_task_is_another_one_where_its_shards_would_be(task):
    changes = [{}, {"source": "code"}, {"split": "heldout"}, {"made_by": "x"}, {"shard_tokens": 61}]
    assert len({task(**change).directory for change in changes}) == len(changes)
    same = [{"size": 1}, {"threads": 2}, {"sha256": ""}, {"documents": Path("elsewhere")}]
    assert {task(**change).directory for change in same} == {task().directory}
    assert task(size=5).input_bytes == 5


def test_without_documents_there_are_no_shards(task, tmp_path: Path):
    with LinesWriter(tmp_path / "none.jsonl.zst"):
        pass
    (one := task(documents=tmp_path / "none.jsonl.zst", sha256="")).run()
    assert one.failure() is None
    assert (one.part().shards, one.part().text_bytes) == ([], 0)

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import WriteBuild, in_memory, places

from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.search.build import build_index
from puna.search.index import TextIndex
from puna.tokenizer.tokenizer import Tokenizer

PIECES = [
    "the", "The", "THE", " ", "  ", "\n", "cat", "straße", "STRASSE", "é", "É", "漢字", "😀", "a", "aa", "aaaa", "()",
    "\u017f", "İ", "ǅ", "K", "\t", "'", "s", "ss", "ﬁ", "fi", " New York", "<s>", "</s>", "\0", "ä",
    "x = 1\n", "e\u0301",
]  # fmt: skip
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=25).map("".join), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(documents=TEXTS, data=st.data())
def test_counts_are_those_of_a_search_at_every_character(any_tokenizer: Tokenizer, documents: list[str], data):
    index = in_memory(any_tokenizer, documents)
    for _ in range(6):
        document = data.draw(st.sampled_from(documents))
        start = data.draw(st.integers(0, len(document) - 1))
        piece = document[start : start + data.draw(st.integers(1, 20))]
        text = data.draw(st.sampled_from([piece, piece.swapcase(), piece.upper(), data.draw(st.sampled_from(PIECES))]))
        for fold in (False, True):
            assert sum(one.count for one in index.find(text, fold=fold)) == len(places(documents, text, fold=fold))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(documents=TEXTS, seed=st.integers(0, 1000))
def test_a_text_is_found_however_its_documents_were_cut_into_tokens(
    any_tokenizer: Tokenizer, documents: list[str], seed: int
):
    rng = random.Random(seed)
    by_bytes: dict[bytes, list[int]] = {}
    for token, content in enumerate(any_tokenizer.token_bytes()):
        by_bytes.setdefault(content, []).append(token)

    def cut(text: str) -> list[int]:
        rest, ids = (b" " if any_tokenizer.space_prefix else b"") + text.encode(), []
        while rest:
            size = rng.choice([size for size in range(1, 17) if rest[:size] in by_bytes and size <= len(rest)])
            ids.append(rng.choice(by_bytes[rest[:size]]))
            rest = rest[size:]
        return ids

    index = in_memory(any_tokenizer, documents, cut=cut)
    for document in documents:
        start = rng.randrange(len(document))
        text = document[start : start + rng.randint(1, 30)]
        assert sum(one.count for one in index.find(text)) == len(places(documents, text))


@pytest.fixture(scope="module")
def repeated(tokenizer: Tokenizer) -> TextIndex:
    def cut(text: str) -> list[int]:
        return tokenizer.encode(text) if len(text) < 1000 else a * len(text)

    a = [tokenizer.token_bytes().index(b"a")]
    return in_memory(tokenizer, ["ab" * 40, "a" * 10_000_000, "b"], cut=cut)


def test_ten_megabytes_of_one_character_are_ordered_and_searched(repeated: TextIndex):
    for size in (1, 2, 999, 5000):
        (one,) = repeated.find("a" * size)
        assert one.count == 10_000_000 - size + 1 + (40 if size == 1 else 0)


def test_a_text_that_is_longer_than_any_document_is_nowhere(repeated: TextIndex, tokenizer: Tokenizer):
    index = in_memory(tokenizer, ["short", "texts"])
    assert sum(one.count for one in index.find("short" * 1000)) == 0
    assert sum(one.count for one in index.find("shorttexts")) == 0


def test_a_text_without_characters_or_with_half_a_character_is_refused(tokenizer: Tokenizer):
    index = in_memory(tokenizer, ["text"])
    with pytest.raises(DataError, match=r"^there is no text to look for$"):
        index.find("")
    with pytest.raises(DataError, match="lone surrogate"):
        index.find("\ud800")
    with pytest.raises(DataError, match=r"^there are no tokens to look for$"):
        index.find_ids([])
    with pytest.raises(DataError, match=r"^token 99999 is not in the vocabulary of \d+$"):
        index.find_ids([99999])
    with pytest.raises(DataError, match=r"^token \d+ has no text"):
        index.find_ids([tokenizer.bos_id])


def test_ids_are_found_as_these_tokens_only(tokenizer: Tokenizer):
    documents = ["the cat and the dog", "the cat", "cat the"]
    streams = [tokenizer.encode(text) for text in documents]
    index = in_memory(tokenizer, documents)
    for size in (1, 2, 3):
        for ids in {tuple(stream[at : at + size]) for stream in streams for at in range(len(stream) - size + 1)}:
            expected = sum(tuple(s[at : at + size]) == ids for s in streams for at in range(len(s)))
            assert sum(one.count for one in index.find_ids(list(ids))) == expected


def _longest(documents: list[str], text: str, index: TextIndex) -> list[tuple[int, int]]:
    """The maximal spans, by trying all; where they may begin in a document follows from its tokens."""
    from puna.search.places import word_edges

    begins = []
    for document in documents:
        ids = index.tokenizer.encode(document)
        content, starts = b"", set()
        for token in ids:
            piece = index.tokenizer.bytes_of(token)
            starts.add(len(content))
            for at in range(1, len(piece)):
                if piece[at] & 0xC0 != 0x80:
                    before = piece[:at].decode(errors="replace")[-1]
                    if len(word_edges(before + piece[at:].decode(errors="replace")[0])) == 3:
                        starts.add(len(content) + at)
            content += piece
        if index.tokenizer.space_prefix:
            content, starts = content[1:], {start - 1 for start in starts if start}
        assert content == document.encode()
        begins.append((content, starts))
    marks, raw = word_edges(text), text.encode()
    spans, last = [], -1
    for mark in marks:
        start = len(text[:mark].encode())
        ends = [
            len(text[:end].encode())
            for end in marks
            if end > mark and not text[end - 1].isspace() and not text[mark : mark + 1].isspace()
        ]
        reached = [
            end for end in ends if any(one.startswith(raw[start:end], at) for one, begin in begins for at in begin)
        ]
        if reached and max(reached) > last:
            spans.append((start, max(reached)))
            last = max(reached)
    return spans


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(documents=TEXTS, text=st.lists(st.sampled_from(PIECES), min_size=1, max_size=25).map("".join), data=st.data())
def test_longest_spans_are_those_that_trying_all_finds(any_tokenizer: Tokenizer, documents: list[str], text: str, data):
    index = in_memory(any_tokenizer, documents)
    document = data.draw(st.sampled_from(documents))
    start = data.draw(st.integers(0, len(document) - 1))
    for wanted in (text, document[start:] + text, text + document[start:]):
        assert index.longest(wanted) == _longest(documents, wanted, index)


def test_spans_of_held_out_documents_are_not_training_data(write_build: WriteBuild):
    data = write_build({("prose", "train"): ["one two three four"], ("prose", "heldout"): ["five six seven eight"]})
    build_index(data)
    index = TextIndex.open(data)
    assert index.longest("two three; six seven") == [(0, 9)]
    assert [(one.part.split, one.count) for one in index.find("six seven") if one.count] == [("heldout", 1)]


def test_shards_are_searched_as_one_text(write_build: WriteBuild):
    documents = [f"Document {number} speaks of the sea and of nothing else." for number in range(30)]
    data = write_build({("prose", "train"): documents, ("code", "train"): ["the sea = 1"]})
    build_index(data)
    index = TextIndex.open(data)
    assert len(index.parts) > 10
    assert index.tokens == sum(len(one.tokens) for one in index.parts)
    for text in ("the sea", "Document 1", "else.Document", "nothing else."):
        found = {}
        for one in index.find(text):
            found[one.part.source] = found.get(one.part.source, 0) + one.count
        assert found == {"prose": len(places(documents, text)), "code": len(places(["the sea = 1"], text))}


def _damaged(data: DataDir) -> Path:
    return data.index / "prose" / "train"


def test_an_index_that_is_missing_damaged_or_of_other_shards_is_refused_in_a_sentence(write_build: WriteBuild):
    data = write_build({("prose", "train"): ["one two three", "four five six"]})
    with pytest.raises(DataError, match=r"has no index of shard 0 of prose train") as caught:
        TextIndex.open(data)
    assert caught.value.hint == f"run `puna data index {data}`"
    build_index(data)
    suffixes = _damaged(data) / "suffixes-00000.bin"
    content = bytearray(suffixes.read_bytes())
    content[5] ^= 1
    suffixes.write_bytes(content)
    with pytest.raises(DataError, match=r"suffixes-00000\.bin: is damaged, its SHA-256"):
        TextIndex.open(data)
    suffixes.write_bytes(content[:-4])
    with pytest.raises(DataError, match=r"suffixes-00000\.bin: has \d+ bytes instead of \d+"):
        TextIndex.open(data)
    suffixes.unlink()
    with pytest.raises(DataError, match=r"suffixes-00000\.bin: is missing"):
        TextIndex.open(data)
    record = _damaged(data) / "part-00000.json"
    kept = record.read_text()
    for broken, sentence in [
        ("{", "is damaged"),
        ("[1]", "is damaged"),
        (kept.replace("puna-text-index", "other"), "is 'other' version 1, this version of Puna reads"),
        (kept.replace('"version": 1', '"version": 2'), "version 2, this version"),
    ]:
        record.write_text(broken)
        with pytest.raises(DataError, match=sentence):
            TextIndex.open(data)
    build_index(data)
    TextIndex.open(data)
    other = write_build({("prose", "train"): ["one two seven", "four five six"]})
    (other.index / "prose").mkdir(parents=True)
    np.zeros(1).tofile(other.index / "x")
    record = other.index / "prose" / "train" / "part-00000.json"
    record.parent.mkdir()
    record.write_text(kept)
    with pytest.raises(DataError, match="is the index of other tokens than those in"):
        TextIndex.open(other)


def test_a_long_copy_with_another_end_is_found_word_by_word(tokenizer: Tokenizer):
    words = [f"w{number}" for number in range(300)]
    documents = [" ".join(words), " ".join([*words[200:], "and", "more"])]
    index = in_memory(tokenizer, documents)
    for text in (" ".join([*words, "QQ"]), " ".join(["QQ", *words, "and", "more", "QQ"])):
        assert index.longest(text) == _longest(documents, text, index)


def test_a_table_that_is_not_of_the_vocabulary_is_refused_before_any_search(write_build: WriteBuild):
    data = write_build({("prose", "train"): ["one two three"]})
    build_index(data)
    directory = data.index / "prose" / "train"
    record = json.loads((directory / "part-00000.json").read_text())
    whole = np.fromfile(directory / "firsts-00000.bin", "<i8")
    for table in (whole[:3], whole + (1 << 40), whole[::-1].copy()):
        table.tofile(directory / "firsts-00000.bin")
        entry = {"bytes": table.nbytes, "sha256": sha256_file(directory / "firsts-00000.bin")}
        files = [one | entry if one["name"].startswith("firsts") else one for one in record["files"]]
        forged = record | {"ranks": len(table) - 1, "files": files}
        (directory / "part-00000.json").write_text(json.dumps(forged))
        with pytest.raises(DataError, match="the index of prose train is damaged"):
            TextIndex.open(data)
    for change in ({"ranks": float("inf")}, {"files": [*record["files"], {"name": 5, "bytes": 1, "sha256": "x"}]}):
        (directory / "part-00000.json").write_text(json.dumps(record | change))
        with pytest.raises(DataError, match="its numbers do not agree"):
            TextIndex.open(data)


def test_a_text_that_is_too_long_to_look_for_is_refused(tokenizer: Tokenizer):
    with pytest.raises(DataError, match=r"the text has 100001 characters, 100000 are looked for at most"):
        in_memory(tokenizer, ["a"]).find("a" * 100_001)


def test_a_text_is_looked_for_as_the_tokenizer_keeps_it(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    index = in_memory(tokenizer, ["caf\u00e9 one"])
    monkeypatch.setattr(tokenizer, "normalizes", True, raising=False)
    assert sum(one.count for one in index.find("cafe\u0301 one")) == 1
    monkeypatch.setattr(type(tokenizer), "missing_bytes", property(lambda self: b"\0"))
    assert sum(one.count for one in index.find("o\0ne")) == 1

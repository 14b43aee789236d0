import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import WriteBuild, places

from puna.core.layout import DataDir
from puna.search.build import build_index
from puna.search.found import found
from puna.search.index import TextIndex

DOCUMENTS = [
    "The sea is wide. the sea is deep, THE SEA is cold.", "Straße am Meer: STRASSE, strasse é É 漢字の海 😀 the sea",
    " the sea ",
    "the sea" * 40 + "\n\nend",
]  # fmt: skip


@pytest.fixture
def data(write_build: WriteBuild) -> DataDir:
    data = write_build({("prose", "train"): DOCUMENTS, ("prose", "heldout"): ["the sea, held out"]}, shard_tokens=60)
    build_index(data)
    return data


def test_places_are_those_of_a_search_with_the_text_around_them(data: DataDir):
    index = TextIndex.open(data)
    for text in ("the sea", "strasse", "é", "字の", " the sea ", "sea is", "THE", "\n\nend", "😀 the"):
        for fold in (False, True):
            size = len(text.casefold()) if fold else len(text.encode())
            what = found(index, index.find(text, fold=fold), size, most=10**6, fold=fold)
            expected = places(DOCUMENTS, text, fold=fold)
            train = [place for place in what.places if place.split == "train"]
            assert what.count("train") == len(train) == len(expected)
            assert {(f"{number}.txt", len(DOCUMENTS[number][:at].encode())) for number, at in expected} == {
                (place.id, place.offset) for place in train
            }
            for place in train:
                document = DOCUMENTS[int(place.id[0])]
                at = len(document.encode()[: place.offset].decode())
                end = at + len(place.text)
                assert place.text.casefold() == text.casefold() if fold else place.text == text
                assert document[:at].endswith(place.before)
                assert document[end:].startswith(place.after)
                assert (len(place.before), len(place.after)) == (min(60, at), min(60, len(document) - end))
                assert place.origin == f"shelf: {place.id}"


def test_training_documents_come_first_and_no_more_are_described_than_asked_for(data: DataDir):
    index = TextIndex.open(data)
    what = found(index, index.find("the sea"), 7, most=5)
    assert [place.split for place in what.places] == ["train"] * 5
    assert what.counts == {"train": {"prose": len(places(DOCUMENTS, "the sea"))}, "heldout": {"prose": 1}}
    every = found(index, index.find("the sea"), 7, most=10**6).places
    assert every[:5] == what.places
    assert every[-1].split == "heldout"
    assert found(index, index.find("the sea"), 7, most=0).places == []


def test_a_text_that_is_nowhere_has_no_places(data: DataDir):
    index = TextIndex.open(data)
    what = found(index, index.find("nowhere"), 7, most=5)
    assert (what.counts, what.places, what.count("train")) == ({}, [], 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5, deadline=None)
@given(st.integers(1, 12))
def test_the_first_occurrences_are_the_same_whatever_their_number(data: DataDir, most: int):
    index = TextIndex.open(data)
    every = found(index, index.find("the"), 3, most=100).places
    assert found(index, index.find("the"), 3, most=most).places == every[:most]


def test_a_token_with_the_space_that_the_tokenizer_puts_before_a_document_is_at_its_beginning(write_build: WriteBuild):
    data = write_build({("prose", "train"): ["the cat is self here"]})
    build_index(data)
    index = TextIndex.open(data)
    ids = index.tokenizer.encode("the")
    size = sum(len(index.tokenizer.bytes_of(token)) for token in ids)
    (place,) = found(index, index.find_ids(ids), size, most=5).places
    assert (place.offset, place.before, place.text, place.after) == (0, "", "the", " cat is self here")

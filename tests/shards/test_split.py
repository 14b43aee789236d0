import pytest

from puna.config.data import Source
from puna.shards.split import hash_fraction, is_heldout


def test_the_held_out_fraction_is_kept_and_a_document_never_changes_sides():
    source = Source(kind="files", path="x", include=["*"], heldout_fraction=0.2)
    held = [is_heldout(source, "code", f"{number}.py") for number in range(5000)]
    assert 0.17 < sum(held) / len(held) < 0.23
    more = Source(kind="files", path="x", include=["*"], heldout_fraction=0.4)
    assert all(is_heldout(more, "code", f"{number}.py") for number in range(5000) if held[number])


def test_a_pattern_is_looked_for_anywhere_in_the_id():
    source = Source(kind="files", path="x", include=["*"], heldout_pattern="5-")
    assert is_heldout(source, "code", "years/1905-x.txt")
    assert not is_heldout(source, "code", "years/1906-x.txt")


def test_hash_fractions_are_those_of_every_machine_and_version():
    assert hash_fraction("code/json/decoder.py") == pytest.approx(0.42301608604062685, abs=1e-15)


def test_an_id_that_is_not_unicode_has_a_place_too():
    assert 0 <= hash_fraction("code/\udce9") < 1

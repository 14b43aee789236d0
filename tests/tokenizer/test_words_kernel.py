import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.tokenizer.cuts import BEFORE_LETTER, Cuts, cuts_between
from puna.tokenizer.words_kernel import LONGEST, join_ids, number_words

CUTS = cuts_between([b" ab", b"aba"])


class Table:
    def __init__(self, words: int = 64, letters: int = 4096, numbers: int = 4096, others: int = 16) -> None:
        self.table = np.zeros(2 * words, dtype=np.uint64)
        self.letters = np.empty(letters, dtype=np.uint8)
        self.ends = np.zeros(words + 1, dtype=np.int64)
        self.count = 0
        self.numbers = np.empty(numbers, dtype=np.int32)
        self.others = np.empty((others, 2), dtype=np.int64)

    def scan(self, data: bytes, start: int = 0, cuts: Cuts = CUTS) -> tuple[int, list[int], list[list[int]]]:
        """Where it stopped, the numbers, the others."""
        position, self.count, n_words, n_others = number_words(
            np.frombuffer(data, dtype=np.uint8), start, cuts, self.table, self.letters, self.ends, self.count,
            self.numbers, self.others,
        )  # fmt: skip
        return position, self.numbers[:n_words].tolist(), self.others[:n_others].tolist()

    def word(self, number: int) -> bytes:
        return self.letters[self.ends[number] : self.ends[number + 1]].tobytes()


def test_equal_words_have_equal_numbers() -> None:
    table = Table()
    position, numbers, others = table.scan(b" ab ab.aba ab")
    assert numbers == [0, 0, 1, 2, 0]
    assert [table.word(number) for number in range(table.count)] == [b" ab", b".", b"aba"]
    assert (position, others) == (13, [])


def test_a_cut_before_a_letter_waits_for_the_letter() -> None:
    cuts = np.zeros((256, 256), dtype=np.uint8)
    cuts[ord(" "), ord(" ")] = BEFORE_LETTER
    table = Table()
    data = b"   a  Z  {  @  [  `  "
    numbers = table.scan(data, cuts=cuts)[1]
    assert [table.word(number) for number in numbers] == [b"  ", b" a ", b" Z  {  @  [  `  "]


@given(st.lists(st.text("ab é.\0", max_size=30), min_size=1, max_size=6))
def test_numbered_words_in_a_row_are_the_data(texts: list[str]) -> None:
    table = Table(words=4096)
    for text in texts:
        data = text.encode()
        position, numbers, others = table.scan(data)
        assert position == len(data)
        assert others == []
        assert b"".join(map(table.word, numbers)) == data
    known = [table.word(number) for number in range(table.count)]
    assert len(known) == len(set(known))


def test_words_of_equal_hashes_are_told_apart_by_all_their_bytes() -> None:
    for change in ("length", "byte"):
        table = Table()
        assert table.scan(b"ab")[1] == [0]
        if change == "length":
            table.ends[1] = 3  # as if "ab?" had the hash of "ab"
        else:
            table.letters[1] = ord("?")
        assert table.scan(b"ab")[1] == [1]
        assert table.word(1) == b"ab"


def test_a_long_word_is_told_by_its_place() -> None:
    table = Table()
    data = b"." + b"ab" * LONGEST + b"." + b"a" * LONGEST + b"bbb" + b"ba" * LONGEST
    _, numbers, others = table.scan(data)
    assert [data[begin:end] for begin, end in others] == [b"ab" * LONGEST, b"ba" * LONGEST]
    assert [number for number in numbers if number < 0] == [-1, -2]


def test_it_stops_where_an_array_is_full_and_goes_on_from_there() -> None:
    data = b".ab.b.a" * 3 + b"ab" * LONGEST + b"." + b"ab" * LONGEST
    whole = Table().scan(data)[1]
    for sizes in ({"numbers": 2}, {"others": 1}):
        table = Table(**sizes)
        position, found = 0, []
        while position < len(data):
            position, numbers, others = table.scan(data, position)
            assert numbers
            found += [table.word(number) if number >= 0 else data[slice(*others[-number - 1])] for number in numbers]
        assert len(found) == len(whole)
        assert b"".join(found) == data


def test_a_full_table_takes_no_new_word() -> None:
    for sizes in ({"words": 2}, {"letters": 3}):
        table = Table(**sizes)
        position, numbers, _ = table.scan(b".ab.ab b")
        assert (position, numbers) == (6, [0, 1, 0, 1])
        assert table.scan(b".ab.ab b", position) == (6, [], [])


def test_ids_are_joined_in_the_order_of_the_words() -> None:
    ids, ends = np.array([7, 8, 9], dtype=np.uint32), np.array([0, 1, 1, 3])
    other_ids, other_ends = np.array([20, 21, 22], dtype=np.uint32), np.array([0, 2, 3])
    numbers = np.array([2, -2, 0, 1, -1, 2], dtype=np.int32)
    assert join_ids(numbers, ids, ends, other_ids, other_ends).tolist() == [8, 9, 22, 7, 20, 21, 8, 9]

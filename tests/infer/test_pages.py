from hypothesis import given
from hypothesis import strategies as st

from puna.infer.pages import Pages, Prefix


def fill(pages: Pages, tokens: list[int], salt: str = "") -> list[int]:
    """What a sequence does with its prompt: find, take the rest, make the full pages known."""
    size = pages.page_size
    held, prefix = pages.find(salt, tokens, len(tokens))
    found = len(held)
    held += [pages.take() for _ in range(-(-len(tokens) // size) - found)]
    for page in range(found, len(tokens) // size):
        prefix = pages.know(held[page], prefix, tuple(tokens[page * size : (page + 1) * size]))
    return held


def test_a_prefix_is_found_page_by_page_and_never_part_of_a_page() -> None:
    pages = Pages(10, 2)
    held = fill(pages, [1, 2, 3, 4, 5])
    assert pages.find("", [1, 2, 3, 4, 5, 6], 6)[0] == held[:2]
    assert pages.find("", [1, 2, 3, 9], 4)[0] == held[:1]
    assert pages.find("", [1, 2, 3, 4], 3)[0] == held[:1]
    assert pages.find("", [2, 1], 2)[0] == []
    assert pages.find("", [3, 4], 2)[0] == []  # the same tokens behind others


def test_part_of_a_page_is_found_by_all_of_its_tokens_or_by_the_first_of_the_latest_page() -> None:
    pages = Pages(10, 4)
    (full,), prefix = fill(pages, [1, 2, 3, 4]), pages.find("", [1, 2, 3, 4], 4)[1]
    short, long = pages.take(), pages.take()
    pages.know(short, prefix, (5, 6))
    pages.know(long, prefix, (5, 7, 8))
    assert pages.find_part(prefix, [5, 6, 9]) == (short, 2)
    assert pages.find_part(prefix, [5, 7, 9])[1] == 0  # not computed before the next step
    pages.settle()
    assert pages.find_part(prefix, [5, 7, 9]) == (long, 2)
    assert pages.find_part(prefix, [5, 6, 9]) == (short, 2)
    assert pages.find_part(prefix, [5, 9]) == (long, 1)
    assert pages.find_part(prefix, [9])[1] == 0
    assert pages.find_part("", [1, 2]) == (full, 2)
    assert pages.find_part("other", [1, 2])[1] == 0


def test_a_page_that_is_handed_out_again_is_no_longer_copied() -> None:
    pages = Pages(1, 4)
    page = pages.take()
    pages.know(page, "", (1, 2))
    pages.settle()
    pages.release([page])
    assert pages.find_part("", [1, 2, 3]) == (page, 2)
    assert pages.take() == page
    assert pages.find_part("", [1, 2, 3])[1] == 0
    assert (pages.known, pages._latest) == (0, {})


def test_salts_share_nothing() -> None:
    pages = Pages(10, 2)
    fill(pages, [1, 2], salt="one")
    assert pages.find("two", [1, 2], 2)[0] == []
    assert len(pages.find("one", [1, 2], 2)[0]) == 1


def test_free_pages_are_taken_before_idle_ones_and_of_those_the_longest_unused_and_the_end_of_a_text_first() -> None:
    pages = Pages(4, 1)
    older, newer = fill(pages, [1, 2]), fill(pages, [3])
    pages.release(older)
    pages.release(newer)
    assert pages.available == 4
    taken = [pages.take() for _ in range(4)]
    assert taken[0] not in older + newer
    assert taken[1:] == [older[1], older[0], newer[0]]
    assert (pages.available, pages.known) == (0, 0)


def test_a_page_in_use_is_not_handed_out_until_the_last_user_lets_go() -> None:
    pages = Pages(2, 1)
    held = fill(pages, [1])
    again, _ = pages.find("", [1], 1)
    pages.release(held)
    assert pages.available == 1
    pages.release(again)
    assert pages.available == 2


def test_a_page_that_was_handed_out_again_no_longer_leads_to_the_pages_behind_it() -> None:
    pages = Pages(2, 1)
    first, second = fill(pages, [1, 2])
    pages.release([second])
    pages.release([first])
    held, _ = pages.find("", [1, 2], 2)
    assert held == [first, second]
    pages.release([first])  # now the beginning is idle and the end is used
    assert fill(pages, [7]) == [first]
    assert pages.find("", [7, 2], 2)[0] == [first]


def test_of_two_pages_with_the_same_tokens_the_first_stays_known() -> None:
    pages = Pages(4, 1)
    one, two = pages.take(), pages.take()
    assert pages.know(one, "", (5,)) == pages.know(two, "", (5,))
    pages.release([two])
    assert pages.find("", [5], 1)[0] == [one]


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1), max_size=7)), max_size=30), st.integers(1, 3))
def test_pages_never_hold_anything_but_what_they_are_known_for(orders: list[tuple[bool, list[int]]], size: int) -> None:
    pages = Pages(12, size)
    content: dict[int, list[int]] = {}
    texts: list[list[int]] = []
    for take, tokens in orders:
        if take and -(-len(tokens) // size) <= pages.available:
            held, prefix = pages.find("", tokens, len(tokens))
            assert [token for page in held for token in content[page]] == tokens[: len(held) * size]
            if -(-len(tokens) // size) - len(held) > pages.available:
                pages.release(held)
                continue
            texts.append(write(pages, tokens, held, prefix, content))
        elif texts:
            pages.release(texts.pop(len(tokens) % len(texts)))
        used = {page for text in texts for page in text}
        assert pages.available == 12 - len(used)
    for text in texts:
        pages.release(text)
    assert pages.available == 12
    assert pages.known <= 12


def write(pages: Pages, tokens: list[int], held: list[int], prefix: Prefix, content: dict[int, list[int]]) -> list[int]:
    """Fill the pages behind those found."""
    size = pages.page_size
    for start in range(len(held) * size, len(tokens), size):
        page = pages.take()
        content[page] = tokens[start : start + size]
        if len(content[page]) == size:
            prefix = pages.know(page, prefix, tuple(content[page]))
        held.append(page)
    return held

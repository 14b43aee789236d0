from puna.infer.pages import Pages
from puna.infer.requests import Request
from puna.infer.scheduler import Chunk, Scheduler, Sequence
from puna.infer.stops import Text


def sequence_of(number: int, length: int, *, first: int = 0) -> Sequence:
    """A prompt that begins with a token of its own."""
    prompt = (first or 100 + number, *range(1, length))
    request = Request(prompt=prompt, max_tokens=50)
    return Sequence(request, number, 0, list(prompt), length + 50, Text(None), [])


def compute(chunks: list[Chunk]) -> list[tuple[int, int, int]]:
    """Take the chunks as computed and write a token where a text's end was reached: (number, start, count) of each."""
    done = []
    for chunk in chunks:
        sequence = chunk.sequence
        done.append((sequence.number, sequence.computed, chunk.count))
        sequence.computed += chunk.count
        if sequence.computed == len(sequence.tokens):
            sequence.tokens.append(7)
    return done


def test_those_who_write_come_first_and_prompts_get_the_rows_that_are_left() -> None:
    scheduler = Scheduler(Pages(100, 4), max_rows=10, max_running=5)
    scheduler.waiting += [sequence_of(0, 3), sequence_of(1, 25), sequence_of(2, 4)]
    steps = [compute(scheduler.schedule()) for _ in range(5)]
    assert steps == [
        [(0, 0, 3), (1, 0, 7)],
        [(0, 3, 1), (1, 7, 9)],
        [(0, 4, 1), (1, 16, 9)],
        [(0, 5, 1), (1, 25, 1), (2, 0, 4)],
        [(0, 6, 1), (1, 26, 1), (2, 4, 1)],
    ]


def test_no_more_run_at_once_than_allowed_and_the_next_comes_when_one_has_finished() -> None:
    scheduler = Scheduler(Pages(100, 4), max_rows=10, max_running=2)
    first, second, third = (sequence_of(number, 2) for number in range(3))
    scheduler.waiting += [first, second, third]
    assert [number for number, _, _ in compute(scheduler.schedule())] == [0, 1]
    scheduler.finish(first)
    assert [number for number, _, _ in compute(scheduler.schedule())] == [1, 2]
    assert {second.slot, third.slot} == {0, 1}


def test_who_begins_alike_shares_pages_in_the_very_step_that_computes_them() -> None:
    scheduler = Scheduler(Pages(100, 4), max_rows=30, max_running=5)
    one, two = sequence_of(0, 10, first=5), sequence_of(1, 10, first=5)
    scheduler.waiting += [one, two]
    assert compute(scheduler.schedule()) == [(0, 0, 10), (1, 8, 2)]
    assert one.pages[:2] == two.pages[:2]
    assert one.pages[2] != two.pages[2]


def test_the_part_of_a_page_that_is_shared_is_copied_in_a_later_step() -> None:
    scheduler = Scheduler(Pages(100, 4), max_rows=30, max_running=5)
    one, two, three = (sequence_of(number, 11, first=5) for number in range(3))
    scheduler.waiting += [one, two]
    assert compute(scheduler.schedule()) == [(0, 0, 11), (1, 8, 3)]  # in the step that computes them there is no copy
    scheduler.finish(one)
    scheduler.waiting.append(three)
    _, chunk = scheduler.schedule()
    assert (chunk.sequence, three.computed, chunk.count) == (three, 10, 1)
    assert chunk.copied is not None
    assert chunk.copied[1] == three.pages[2] != chunk.copied[0]


def test_the_youngest_is_put_aside_keeps_its_tokens_and_comes_back_first() -> None:
    scheduler = Scheduler(Pages(4, 4), max_rows=20, max_running=5)
    old, young, waiting = (sequence_of(number, 7) for number in range(3))
    scheduler.waiting += [old, young, waiting]
    compute(scheduler.schedule())
    compute(scheduler.schedule())  # both have eight positions, and a third page each would be six of four
    assert [one.number for one in scheduler.running] == [0, 1]
    assert compute(scheduler.schedule()) == [(0, 8, 1)]
    assert scheduler.preemptions == 1
    assert (young.pages, young.computed, len(young.tokens), young.slot) == ([], 0, 9, -1)
    assert list(scheduler.waiting) == [young, waiting]
    scheduler.finish(old)
    assert compute(scheduler.schedule()) == [(1, 4, 5)]  # what is still known of it is not computed again


def test_a_prompt_waits_until_all_of_it_finds_room() -> None:
    scheduler = Scheduler(Pages(4, 4), max_rows=100, max_running=5)
    scheduler.waiting += [sequence_of(0, 9), sequence_of(1, 5)]
    assert compute(scheduler.schedule()) == [(0, 0, 9)]
    assert len(scheduler.waiting) == 1


def test_guesses_take_rows_and_pages_that_are_left_and_force_nobody() -> None:
    scheduler = Scheduler(Pages(3, 4), max_rows=10, max_running=5, drafts=6)
    scheduler.waiting += [sequence_of(0, 3), sequence_of(1, 2)]
    (one, two) = scheduler.schedule()
    # Ten rows less five; then of the three pages one is left, which goes to the older.
    assert (one.room, two.room) == (5, 0)
    assert [len(chunk.sequence.pages) for chunk in (one, two)] == [2, 1]

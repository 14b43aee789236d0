"""Turns between callers, beside a list that is searched from its beginning."""

from hypothesis import given
from hypothesis import strategies as st

from puna.serve.turns import Turns


def test_one_callers_requests_keep_their_order() -> None:
    turns: Turns[int] = Turns()
    for number in range(5):
        turns.add("a", number)
    assert [turns.take(1) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert (len(turns), turns.first()) == (0, None)


def test_who_asks_for_much_holds_up_nobody_who_asks_for_little() -> None:
    turns: Turns[str] = Turns()
    for number in range(100):
        turns.add("many", f"many {number}")
    assert [turns.take(1) for _ in range(8)][-1] == "many 7"
    turns.add("few", "few 0")
    turns.add("few", "few 1")
    assert [turns.take(1) for _ in range(3)] == ["few 0", "few 1", "many 8"]
    turns.done("many", 8)
    turns.add("few", "few 2")
    assert turns.take(1) == "many 9", "two of few are at work and one of many"


def test_samples_count_as_much_as_requests() -> None:
    turns: Turns[str] = Turns()
    turns.add("a", "four samples")
    turns.add("b", "b 0")
    turns.add("b", "b 1")
    turns.add("a", "one more")
    assert [turns.take(4), turns.take(1), turns.take(1), turns.take(1)] == ["four samples", "b 0", "b 1", "one more"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "done", "remove", "clear"]), st.sampled_from("abc"), st.integers(0, 20)
    ),
    max_size=60,
)  # fmt: skip


@given(STEPS)
def test_turns_are_those_of_a_slow_search(steps: list[tuple[str, str, int]]) -> None:
    turns: Turns[int] = Turns()
    waiting: list[tuple[str, int]] = []  # in the order in which they came
    served: list[str] = []  # callers, as they were served or began to wait
    at_work = dict.fromkeys("abc", 0)
    for number, (step, caller, extra) in enumerate(steps):
        own = [item for name, item in waiting if name == caller]
        if step == "add":
            if not own:
                served.append(caller)
            turns.add(caller, number)
            waiting.append((caller, number))
        elif step == "take" and waiting:
            least = min(at_work[name] for name, _ in waiting)
            chosen = min(
                (name for name in "abc" if at_work[name] == least and any(name == other for other, _ in waiting)),
                key=lambda name: max(place for place, other in enumerate(served) if other == name),
            )
            expected = next(item for name, item in waiting if name == chosen)
            assert turns.first() == expected
            assert turns.take(1 + extra % 3) == expected
            waiting.remove((chosen, expected))
            served.append(chosen)
            at_work[chosen] += 1 + extra % 3
        elif step == "done" and at_work[caller]:
            ended = min(at_work[caller], 1 + extra % 3)
            turns.done(caller, ended)
            at_work[caller] -= ended
        elif step == "remove" and own:
            item = own[extra % len(own)]
            turns.remove(caller, item)
            waiting.remove((caller, item))
        elif step == "clear" and extra == 0:
            assert sorted(turns.clear()) == sorted(item for _, item in waiting)
            waiting.clear()
        assert len(turns) == len(waiting)
        assert [turns.of(name) for name in "abc"] == [sum(name == other for other, _ in waiting) for name in "abc"]

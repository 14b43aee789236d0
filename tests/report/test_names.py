"""Long names: cut in their middle, never longer than allowed."""

from hypothesis import given
from hypothesis import strategies as st

from puna.report.names import shortened


@given(st.text(max_size=80), st.integers(3, 60))
def test_short_name_stays_and_a_long_one_keeps_both_its_ends(name: str, most: int):
    short = shortened(name, most)
    assert len(short) == min(len(name), most)
    if len(name) <= most:
        assert short == name
        return
    start, _, end = short.partition("…") if "…" not in name else (short[: most // 2], "…", short[most // 2 + 1 :])
    assert name.startswith(start)
    assert name.endswith(end)
    assert start
    assert end

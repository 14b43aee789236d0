"""What other programs take of the processors."""

from pathlib import Path

import pytest

from puna.core import other_load
from puna.core.other_load import OtherLoad

STAT = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 {} 20 30 {} 500 60 70 80 900 1000\ncpu1 5 0 0 7 0 0 0 0 0 0\nintr 1 2\n"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A system whose counters the test turns; one core is this process's, a second has 100 ticks."""
    values = {"clock": 100.0, "own": 5.0, "work": 10, "idle": 400}
    path = tmp_path / "stat"
    monkeypatch.setattr(other_load, "_STAT", path)
    monkeypatch.setattr(other_load.time, "monotonic", lambda: values["clock"])
    monkeypatch.setattr(other_load, "_own_seconds", lambda: values["own"])
    monkeypatch.setattr(other_load.os, "sched_getaffinity", lambda process: {0}, raising=False)
    monkeypatch.setattr(other_load.os, "sysconf", lambda name: 100)
    read = other_load._busy_seconds

    def busy() -> float | None:
        path.write_text(STAT.format(values["work"], values["idle"]))
        return read()

    monkeypatch.setattr(other_load, "_busy_seconds", busy)
    return values


def test_others_are_what_is_not_idle_and_not_this_process(system: dict[str, float]) -> None:
    load = OtherLoad()
    system["clock"] += 10
    system["work"] += 900
    system["idle"] += 100
    system["own"] += 3
    assert load.cores() == pytest.approx(0.6)
    system["own"] += 20  # rounding, or work on other cores
    assert load.cores() == 0


def test_a_moment_says_nothing(system: dict[str, float]) -> None:
    load = OtherLoad()
    system["clock"] += 0.1
    system["work"] += 10
    assert load.cores() == 0


@pytest.mark.parametrize("content", [None, "", "cpu0 a b", "cpu1 1 2 3 4 5 6 7 8 9"])
def test_a_system_that_does_not_tell_has_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(other_load, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(other_load.os, "sched_getaffinity", lambda process: {0}, raising=False)
    if content is not None:
        (tmp_path / "stat").write_text(content)
    load = OtherLoad()
    load._began -= 10
    assert load.cores() == 0

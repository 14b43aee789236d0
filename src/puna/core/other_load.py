"""How much of the processors other programs take meanwhile, by Linux's /proc/stat (proc(5))."""

import os
import resource
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE = (3, 4)
"""Fields of a processor's line in which it waits: idle and iowait."""
_GUEST = 8
"""From this field on, time is counted twice."""
_SHORTEST = 0.3
"""Seconds below which hundredths of a second, in which the system counts, say nothing."""


class OtherLoad:
    """Counts from its making on what other programs take of the cores that this process may use."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def cores(self) -> float:
        """Cores' worth of time that others have taken; 0 where the system does not tell, or the time was short."""
        seconds, busy = time.monotonic() - self._began, _busy_seconds()
        if busy is None or self._busy is None or seconds < _SHORTEST:
            return 0.0
        return max(0.0, busy - self._busy - (_own_seconds() - self._own)) / seconds


def _busy_seconds() -> float | None:
    """Seconds that the cores of this process have worked since the system began; None where nobody tells."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    try:
        lines = [line.split() for line in _STAT.read_text(encoding="ascii").splitlines()]
        found = [[int(field) for field in fields[:_GUEST]] for name, *fields in lines if name in names]
    except (OSError, ValueError):
        return None
    ticks = sum(sum(fields) - sum(fields[place] for place in _IDLE) for fields in found)
    return ticks / os.sysconf("SC_CLK_TCK") if len(found) == len(names) else None


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

"""Read a run's `metrics.jsonl`; `puna.core.schema.lines` describes its lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; a line that is not JSON, as a killed process may leave, is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and isinstance(value.get("step"), int):
                yield value

"""The demo, timed: how long each stage takes and how well the model ends; the record goes to bench/results/.

    python bench/demo.py

Works in a temporary directory; the packages' download is not part of it.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.core.files import write_json
from puna.core.records import commit, machine, packages

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run `puna run demo` and write what its records say."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "puna", "run", "demo"], cwd=root, check=True)
        seconds = time.monotonic() - started
        record = {
            "schema": 1,
            "benchmark": "demo",
            "what": "puna run demo, from nothing to the report; packages installed before",
            "command": "python bench/demo.py",
            "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "packages": packages(),
            "seconds": round(seconds, 1),
            "stage_seconds": {
                "documents": _record(root / "data/demo/documents/record.json")["seconds"],
                "tokenizer": _record(root / "data/demo/tokenizer/record.json")["seconds"],
                "train": _record(root / "runs/demo/record.json")["seconds"],
                "export": _record(root / "runs/demo/exports/hf/equivalence.json")["seconds"],
                "chat": _record(root / "runs/demo/chat/record.json")["seconds"],
            },
            "data": json.loads((root / "runs/demo/data_card.json").read_text(encoding="utf-8")),
            "train": _record(root / "runs/demo/record.json")["results"],
            "export": _record(root / "runs/demo/exports/hf/equivalence.json")["results"],
            "samples": _samples(root / "runs/demo/metrics.jsonl"),
        }
    path = RESULTS / f"demo_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(path, record)
    print(f"record: {path}")


def _record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _samples(metrics: Path) -> list[dict[str, Any]]:
    """What the finished model wrote."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    last = max(line["step"] for line in lines)
    return [line for line in lines if line["kind"] == "sample" and line["step"] == last]


if __name__ == "__main__":
    main()

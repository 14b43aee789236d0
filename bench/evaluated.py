"""Figures of finished evaluations as a record, for the tables of the guide.

    puna evaluate MODEL --tasks … --out DIR
    python bench/evaluated.py protocols DIR                  # one model by several protocols
    python bench/evaluated.py suites DIR DIR …               # the sources' tables with our columns

The record has what results.json and record.json of each directory say, and no directory of the machine. It goes to
bench/results/evaluated_NAME_DATE.json.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PLACE = re.compile(r"/?(?:[\w.~-]+/)+([\w.~-]+)")


def evaluation(directory: Path) -> dict[str, Any]:
    """What a record keeps of one evaluation."""
    results, record = (json.loads((directory / name).read_text()) for name in ("results.json", "record.json"))
    results["model"]["path"] = Path(results["model"]["path"]).name
    return {
        "command": _without_places(record["command"]), "commit": record["commit"], "date": record["started"],
        "seconds": record["seconds"], "machine": record["machine"], "results": results,
    }  # fmt: skip


def _without_places(command: str) -> str:
    """A command with the last part of each path; options of this machine alone are left out."""
    kept = [_PLACE.sub(r"\1", word) if word.startswith("/") else word for word in command.split()]
    return re.sub(r" --(?:out|data-dir|threads) \S+", "", " ".join(kept))


def main() -> None:
    """Write the record of the directories that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=["protocols", "suites"])
    parser.add_argument("directories", nargs="+", type=Path)
    asked = parser.parse_args()
    found = [evaluation(directory) for directory in asked.directories]
    path = ROOT / "bench" / "results" / f"evaluated_{asked.name}_{found[-1]['date'][:10]}.json"
    path.write_text(json.dumps({"benchmark": f"evaluated_{asked.name}", "evaluations": found}, indent=1) + "\n")
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()

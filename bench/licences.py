"""The licences that source files state: precision and recall on a set of notices, and MB of code per second.

The set is tests/data/text/licence_notices.toml. A file counts as found where the licences may not be kept (LLaMA keeps
Apache, BSD and MIT) and the detector says so; a file that says nothing may be kept, as in a project under the MIT
licence. `exact` is the share of files whose licences, with their versions, are all named and no others. Speed is that
of the sources of Python's own library, as code has them: most say nothing of a licence, so two of three of them get a
notice under the GPL at their beginning.

    python bench/licences.py --scancode /path/to/python

measures ScanCode as well, in the environment of that Python (pip install scancode-toolkit-mini==32.5.0 pluggy==1.4.0).
The record goes to bench/results/.
"""

import argparse
import inspect
import json
import re
import statistics
import subprocess
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.data.text.licence_expressions import is_permitted
from puna.data.text.licence_notices import notice

SET = Path(__file__).parents[1] / "tests" / "data" / "text" / "licence_notices.toml"
KEPT = ["apache", "bsd", "mit"]
NOTICE = """# This program is free software: you can redistribute it and/or modify
# it under the terms of the GNU General Public License as published by
# the Free Software Foundation, either version 3 of the License, or
# (at your option) any later version.

"""
SCANCODE = """
import json, resource, sys, time
from licensedcode.cache import build_spdx_license_expression, get_index
from licensedcode.detection import detect_licenses
from license_expression import combine_expressions
texts = json.load(sys.stdin)
get_index()
started, found = time.process_time(), []
for text in texts:
    parts = [one.license_expression for one in detect_licenses(query_string=text) if one.license_expression]
    found.append(build_spdx_license_expression(str(combine_expressions(parts))) if parts else "")
seconds = time.process_time() - started
json.dump([found, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024], sys.stdout)
"""


def names(expression: str) -> frozenset[str]:
    """The licences of an expression without versions' suffixes that different detectors write differently."""
    found = re.split(r"[()\s]+(?:AND|OR|WITH)[()\s]+", expression.strip("()"))
    return frozenset(re.sub(r"-only$|^LicenseRef-.*", "", name).replace("+", "-or-later") for name in found)


def scores(said: list[str], found: list[str]) -> dict[str, Any]:
    """Precision, recall and the counts behind them."""
    refused = [not is_permitted(expression or "MIT", KEPT) for expression in said]
    dropped = [not is_permitted(expression or "MIT", KEPT) for expression in found]
    both = sum(a and b for a, b in zip(refused, dropped, strict=True))
    return {
        "files": len(said),
        "must_be_dropped": sum(refused),
        "dropped": sum(dropped),
        "precision": both / max(sum(dropped), 1),
        "recall": both / sum(refused),
        "exact": sum(names(a) == names(b) for a, b in zip(said, found, strict=True)) / len(said),
    }


def sources() -> list[str]:
    """Modules of Python's library, two of three with a notice."""
    paths = sorted(Path(inspect.__file__).parent.glob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    return [text if number % 3 == 0 else NOTICE + text for number, text in enumerate(texts)]


def scancode(python: str, texts: list[str]) -> tuple[list[str], float, int]:
    """ScanCode's expressions, its CPU seconds without loading its index, and its memory in bytes."""
    done = subprocess.run([python, "-c", SCANCODE], input=json.dumps(texts), capture_output=True, text=True, check=True)
    found, seconds, memory = json.loads(done.stdout)
    return found, seconds, memory


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scancode", help="a Python that has ScanCode")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    files = tomllib.loads(SET.read_text("utf-8"))["file"]
    texts, said = [file["text"].lstrip("\n") for file in files], [file["says"] for file in files]
    code = sources()
    size = sum(len(text.encode()) for text in code)
    rates = []
    for _ in range(arguments.rounds):
        started = time.process_time()
        for text in code:
            notice(text, "python")
        rates.append(size / 1e6 / (time.process_time() - started))
    found = [notice(text, file["language"]).licence for text, file in zip(texts, files, strict=True)]
    results: dict[str, Any] = {
        "puna": scores(said, found) | {"mb_per_second": statistics.median(rates), "min_max": [min(rates), max(rates)]}
    }
    if arguments.scancode:
        found, _, _ = scancode(arguments.scancode, texts)
        part = code[::60]
        _, seconds, memory = scancode(arguments.scancode, part)
        rate = sum(len(text.encode()) for text in part) / 1e6 / seconds
        results["scancode"] = scores(said, found) | {"mb_per_second": rate, "memory_bytes": memory}
    for name, result in results.items():
        print(name, {key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()})
    record = {
        "schema": 1,
        "benchmark": "licences",
        "what": f"{len(files)} notices; {size / 1e6:.1f} MB of Python per CPU second (ScanCode: each 60th file)",
        "command": f"python bench/licences.py --rounds {arguments.rounds}"
        + (" --scancode PYTHON" if arguments.scancode else ""),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "results": results,
    }
    out = arguments.out / f"licences_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(out, record)
    print(f"record: {out}")


if __name__ == "__main__":
    main()

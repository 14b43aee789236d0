"""bench/decode.py runs with tiny models, so that its record is whole when it is made on a quiet machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import script_module

BENCH = Path(__file__).parents[1] / "bench"


def row(system: str, weights: str, task: str, rounds: list[float]) -> dict[str, Any]:
    return {
        "model": "m", "code": "AVX512", "threads": 1, "task": task, "system": system, "weights": weights,
        "rounds": rounds,
    }  # fmt: skip


def test_ratios_are_taken_within_a_round_and_compared_with_what_was_aimed_at() -> None:
    found = script_module("bench/decode_more.py").ratios(
        [
            row("puna", "int8", "decode", [20.0, 10.0, 30.0]),
            row("llama.cpp", "Q8_0", "decode", [10.0, 10.0, 10.0]),
            row("puna", "int8", "32 requests", [200.0]),
            row("transformers", "float32", "32 requests", [50.0]),
        ]
    )
    assert [(one["task"], one["over"], one["ratio"], one["target"], one["met"]) for one in found] == [
        ("decode", "llama.cpp Q8_0", 2.0, 2.0, True),
        ("32 requests", "transformers float32", 4.0, 3.4, True),
        ("32 requests", "alone int8", 10.0, 8.0, True),
    ]
    assert found[0]["min_max"] == [1.0, 3.0]


def test_rows_of_equal_bits_are_one_class() -> None:
    for classes in script_module("bench/decode_more.py").linear_classes(1).values():
        numbers = [number for numbers in classes for number in numbers]
        assert sorted(numbers) == list(script_module("bench/decode_more.py").ROWS)


@pytest.mark.e2e
def test_a_dry_run_takes_every_section_and_every_table_can_be_made(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, str(BENCH / "decode.py"), "--dry", "--record", str(path)], capture_output=True, text=True,
        timeout=900, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(path.read_text())
    here = {(one["task"], one["system"], one["weights"]) for one in record["rows"] if one["code"] != "AVX2"}
    here = here or {(one["task"], one["system"], one["weights"]) for one in record["rows"]}
    assert {task for task, _, _ in here} == {"decode", "decode, evicted", "prefill 24", "3 requests"}
    assert {(system, weights) for _, system, weights in here} == {
        ("puna", "float32"), ("puna", "int4"), ("llama.cpp", "F32"), ("transformers", "float32")
    }  # fmt: skip
    assert all(one["tokens_per_second"] > 0 for one in record["rows"])
    assert [*record["checks"][0]["logprobs_differ_by"]] == ["puna float32", "llama.cpp F32", "transformers float32"]
    assert all(one["same_text"] for one in record["speculation"])
    assert record["start"]["ratio"] > 0
    assert {one["rows"]: one["exact"] for one in record["bits"]["one_by_one"]} == {
        "together": False, "each alone": True
    }  # fmt: skip
    parts = script_module("bench/decode_tables.py").PARTS
    tables = {name: part(record) for name, part in parts.items()}
    assert "**" in tables["turns"]
    assert "tiny" in tables["bounds"]
    assert tables["start"].startswith("`puna generate` of one token")

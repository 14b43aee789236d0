"""What a result says of the training data, from the data card of a run whose build was compared or was not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from puna.benchmarks.files import open_split
from puna.benchmarks.manifest import find_entry
from puna.core.layout import RunDir
from puna.evaluate.contamination import contamination

Sets = dict[str, dict[str, str]]
"""Evaluation sets by name, each with the hashes of its files."""
ASKED = find_entry("copa", "validation").sha256 or ""
OTHER = find_entry("piqa", "validation").sha256 or ""
EXAMPLE = Path(__file__).parents[1] / "data" / "card" / "example_card.json"


def run_with(tmp_path: Path, *sources: Sets | None, action: str = "drop", found: int = 0, compared: int = 9) -> RunDir:
    """A run whose sources were compared with these sets, each with its files' hashes; None is not compared at all."""
    run = RunDir(tmp_path / "run")
    run.root.mkdir()
    run.config.write_text('name = "x"\n')
    card = json.loads(EXAMPLE.read_text())
    whole = card["sources"][0]
    card["sources"] = [
        whole
        | {
            "name": f"source{number}",
            "evaluation_sets": sets
            and {
                name: {"documents": found, "rows": found, "of": 9, "compared": compared, "whole": 0, "sha256": files}
                for name, files in sets.items()
            },
        }
        for number, sets in enumerate(sources)
    ]
    rule = {"about": "", "thresholds": [{"name": "action", "value": action, "meaning": ""}]}
    card["rules"]["decontaminate"] = rule
    run.data_card.write_text(json.dumps(card))
    return run


BOTH = {"copa": {"validation.jsonl": ASKED}, "piqa": {"validation.jsonl": OTHER}}
PIQA = {"piqa": {"validation.jsonl": OTHER}}


def test_a_set_is_decontaminated_if_every_source_was_compared_with_its_very_file(tmp_path: Path) -> None:
    assert contamination(run_with(tmp_path, BOTH, BOTH, found=3), ASKED) == "decontaminated"


@pytest.mark.parametrize(("found", "said"), [(0, "decontaminated"), (1, "contaminated")])
def test_where_overlaps_are_only_reported_it_depends_on_whether_there_are_some(
    tmp_path: Path, found: int, said: str
) -> None:
    assert contamination(run_with(tmp_path, BOTH, action="report", found=found), ASKED) == said


@pytest.mark.parametrize("sources", [(PIQA,), (BOTH, PIQA), (BOTH, None), (None,)])
def test_one_source_that_was_not_compared_with_it_is_enough(tmp_path: Path, sources: tuple[Sets | None, ...]) -> None:
    assert contamination(run_with(tmp_path, *sources), ASKED) == "not compared"


@pytest.mark.parametrize(("compared", "said"), [(5, "decontaminated"), (4, "not compared"), (0, "not compared")])
def test_a_set_whose_rows_are_mostly_too_short_was_not_compared(tmp_path: Path, compared: int, said: str) -> None:
    assert contamination(run_with(tmp_path, BOTH, compared=compared), ASKED) == said


@pytest.mark.parametrize("files", [{}, {"mine.jsonl": "0" * 64}])
def test_files_of_the_users_own_may_be_this_set(tmp_path: Path, files: dict[str, str]) -> None:
    assert contamination(run_with(tmp_path, {"mine": files}), ASKED) == "unknown"


def test_a_source_that_the_run_does_not_read_does_not_count(tmp_path: Path) -> None:
    run = run_with(tmp_path, BOTH, None)
    card = json.loads(run.data_card.read_text())
    card["sources"][1]["share"] = 0.0
    run.data_card.write_text(json.dumps(card))
    assert contamination(run, ASKED) == "decontaminated"


def test_nothing_is_known_of_a_model_from_elsewhere_nor_of_one_that_began_with_another(tmp_path: Path) -> None:
    assert contamination(None, ASKED) == "unknown"
    run = run_with(tmp_path, BOTH)
    run.config.write_text('[train]\ninit_from = "other/model"\n')
    assert contamination(run, ASKED) == "unknown"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 1}'])
def test_a_card_that_is_missing_or_damaged_says_nothing(tmp_path: Path, content: str | None) -> None:
    run = run_with(tmp_path, BOTH)
    run.data_card.unlink()
    if content is not None:
        run.data_card.write_text(content)
    assert contamination(run, ASKED) == "unknown"


def test_the_hash_of_a_real_split_is_the_one_that_a_build_writes(benchmark: Callable, tmp_path: Path) -> None:
    benchmark("copa", "validation")
    assert contamination(run_with(tmp_path, BOTH), open_split("copa", "validation").sha256) == "decontaminated"

"""The examples of the prompts, with lm-evaluation-harness's as referee."""

from pathlib import Path

import pytest
from harness_module import harness_module

from puna.evaluate.tasks.solved_examples import CHAIN_OF_THOUGHT, MINERVA


def test_minerva_s_problems_are_those_of_the_harness() -> None:
    theirs = harness_module("minerva_math/utils.py").list_fewshot_samples()
    assert [(one["problem"], one["solution"]) for one in theirs] == list(MINERVA)


def test_chains_of_thought_are_those_of_the_harness() -> None:
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k-cot.yaml")
    theirs = config["fewshot_config"]["samples"]
    assert [(one["question"], one["target"]) for one in theirs] == list(CHAIN_OF_THOUGHT)

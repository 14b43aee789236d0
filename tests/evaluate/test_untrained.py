"""A model that has learned nothing scores what guessing does: no option is preferred for what it looks like."""

import math
from collections.abc import Callable

import pytest
from model_source import random_model

from puna.benchmarks.files import Split
from puna.config.recipe import ModelConfig
from puna.evaluate.backends.local import LocalBackend
from puna.evaluate.documents import open_documents
from puna.evaluate.registry import find_task
from puna.evaluate.run import figures, run_documents
from puna.infer.engine import Engine
from puna.infer.operator_runner import OperatorRunner
from puna.tokenizer.tokenizer import Tokenizer

DOCUMENTS = 120
FAR = 3.5
"""Standard errors from chance that one of a few tasks may be by chance alone; the seeds are fixed."""


@pytest.fixture(scope="module")
def backend(tokenizer: Tokenizer) -> LocalBackend:
    """A model with random weights."""
    shape = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "ffn_dim": 48, "context": 256}
    model = random_model(ModelConfig.model_validate(shape | {"vocab_size": tokenizer.vocab_size}), seed=2)
    return LocalBackend(Engine(OperatorRunner(model, pages=256, page_size=16), tokenizer), tokenizer)


@pytest.mark.parametrize(
    "name", ["harness/arc_easy", "harness/piqa", "harness/winogrande", "llama/arc_challenge", "foundry/openbookqa"]
)
def test_random_weights_score_what_guessing_scores(
    backend: LocalBackend, name: str, benchmark: Callable[[str, str], Split]
) -> None:
    task = find_task(name)
    documents = open_documents(task, benchmark, limit=DOCUMENTS)
    figure = figures(task, run_documents(documents, backend).judged)[next(iter(task.metrics))]
    assert task.chance is not None
    assert figure.value is not None
    spread = math.sqrt(task.chance * (1 - task.chance) / DOCUMENTS)
    assert abs(figure.value - task.chance) < FAR * spread

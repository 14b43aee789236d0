"""A served model is evaluated by its address, with the figures of the same model in this process."""

from pathlib import Path

import pytest
from completions_server import Faults, completions_server
from model_source import random_model
from own_tasks import write_tasks

import puna
from puna.config.recipe import ModelConfig
from puna.core.errors import EvaluateError
from puna.core.layout import RunDir
from puna.core.schema.evaluation import read_documents
from puna.model.files import save_model


def test_a_served_model_has_the_answers_of_the_same_model_in_this_process(tiny_run: RunDir, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "mine")
    tokenizer = puna.load(tiny_run).tokenizer
    shape = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "ffn_dim": 48, "context": 128}
    made = random_model(ModelConfig.model_validate(shape | {"vocab_size": tokenizer.vocab_size}))
    save_model(made, tmp_path / "model", tokenizer=tokenizer, inputs={})
    model = puna.load(tmp_path / "model")
    here = puna.evaluate(model, tasks=str(tasks), out=tmp_path / "here")
    with completions_server(model.engine, model.tokenizer, Faults(context=128)) as server:
        there = puna.evaluate(server.url, tasks=str(tasks), out=tmp_path / "there", tokenizer=tiny_run.root)
    assert there.results.model.path == f"{server.url}#demo"
    assert (there.results.model.title, there.results.model.weights_sha256) == ("demo", None)
    for task in here.results.tasks:
        ours, theirs = (list(read_documents(of.directory.documents_of(task.id))) for of in (here, there))
        assert [line.values for line in ours] == [line.values for line in theirs]
        assert [option.logprob for line in ours for option in line.options] == pytest.approx(
            [option.logprob for line in theirs for option in line.options], abs=1e-6
        )
        assert [text.text for line in ours for text in line.written] == [
            text.text for line in theirs for text in line.written
        ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "the model's tokenizer is needed"),
        ({"tokenizer": "x", "weights": "int8"}, "weights is decided by the endpoint"),
        ({"tokenizer": "x", "device": "cuda"}, "device is decided by the endpoint"),
    ],
)
def test_what_an_endpoint_cannot_do_is_refused(tmp_path: Path, options: dict[str, str], says: str) -> None:
    tasks = write_tasks(tmp_path / "mine")
    with pytest.raises(EvaluateError, match=says):
        puna.evaluate("http://127.0.0.1:9/v1", tasks=str(tasks), **options)  # type: ignore[arg-type]

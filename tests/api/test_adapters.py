"""An adapter beside a model answers as the merged model does, also one of several, and what cannot be is a sentence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import BLOCKS, merged, random_adapter
from chats import TEMPLATES
from own_tasks import write_tasks

import puna
from puna.api.adapters import directory_of_adapter, model_of_adapter
from puna.core.errors import CheckpointError, ExportError, FormatError, GenerateError
from puna.core.layout import RunDir
from puna.formats.peft.write import write_adapter
from puna.model.adapter import Adapter
from puna.model.files import save_model

GREEDY: dict[str, Any] = {"max_tokens": 12, "temperature": 0}
PROMPTS = ["You are", "The capital", "é日 user"]


@pytest.fixture(scope="module")
def adapter(chat_model: Path) -> Adapter:
    made = random_adapter(puna.load(chat_model).config, rank=4, seed=1, only=BLOCKS)
    return replace(made, base=str(chat_model))


@pytest.fixture(scope="module")
def directory(adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter in PEFT's format, with a template of its own."""
    place = tmp_path_factory.mktemp("polite") / "adapter"
    write_adapter(adapter, place)
    (place / "chat_template.jinja").write_text(TEMPLATES["llama2"])
    return place


@pytest.fixture(scope="module")
def whole(chat_model: Path, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> puna.LanguageModel:
    """The merged model."""
    return _merged(chat_model, adapter, tmp_path_factory.mktemp("merged") / "model")


def _merged(base: Path, adapter: Adapter, place: Path) -> puna.LanguageModel:
    loaded = puna.load(base)
    save_model(merged(loaded.model, adapter), place, tokenizer=loaded.tokenizer, inputs={})
    return puna.load(place)


def same_texts(found: puna.LanguageModel, expected: puna.LanguageModel, **options: Any) -> None:
    """Greedy texts are the same, and log-probabilities nearly."""
    one = found.complete(PROMPTS, logprobs=0, prompt_logprobs=0, **GREEDY, **options)
    other = expected.complete(PROMPTS, logprobs=0, prompt_logprobs=0, **GREEDY)
    assert [completion.text for completion in one] == [completion.text for completion in other]
    for mine, theirs in zip(one, other, strict=True):
        logprobs = [token.logprob for token in (*mine.prompt, *mine.tokens)]
        assert logprobs == pytest.approx([token.logprob for token in (*theirs.prompt, *theirs.tokens)], abs=1e-4)


def test_one_adapter_answers_all_as_the_merged_model_does(
    chat_model: Path, directory: Path, whole: puna.LanguageModel
) -> None:
    model = puna.load(chat_model, adapter=directory)
    same_texts(model, whole)
    assert model.generate(PROMPTS, **GREEDY) != puna.load(chat_model).generate(PROMPTS, **GREEDY)
    assert model.score("The capital").total == pytest.approx(whole.score("The capital").total, abs=1e-4)
    found, expected = (puna.perplexity(one, PROMPTS) for one in (model, whole))
    assert found.nats == pytest.approx(expected.nats, abs=1e-4)
    assert model.chat_template == TEMPLATES["llama2"]  # the adapter's own


def test_each_request_chooses_one_of_several_or_none(
    chat_model: Path, adapter: Adapter, directory: Path, whole: puna.LanguageModel, tmp_path: Path
) -> None:
    terse = random_adapter(whole.config, rank=9, seed=2, magnitudes=True, only=BLOCKS)
    write_adapter(terse, tmp_path / "terse")
    model = puna.load(chat_model, adapter={"polite": directory, "terse": tmp_path / "terse"})
    plain = puna.load(chat_model)
    same_texts(model, plain)
    same_texts(model, whole, adapter="polite")
    same_texts(model, _merged(chat_model, terse, tmp_path / "merged"), adapter="terse")
    assert model.template_of("polite") == TEMPLATES["llama2"]
    assert model.template_of("terse") == model.chat_template == TEMPLATES["chatml"]
    turns = [{"role": "user", "content": "Hello"}]
    texts = [model.chat(turns, **GREEDY, adapter=name) for name in ("", "polite", "terse")]
    assert texts[0] == plain.chat(turns, **GREEDY)
    assert len(set(texts)) == 3
    with pytest.raises(GenerateError, match="adapter is 'kind', which there is not: there is polite, terse"):
        model.generate("x", adapter="kind")
    with pytest.raises(GenerateError, match="which there is not: the model was loaded without any"):
        plain.generate("x", adapter="polite")
    assert model.score("The capital", adapter="polite") != model.score("The capital")


@pytest.mark.parametrize("weights", ["int8", "int4", "bfloat16"])
def test_weights_of_fewer_bits_take_an_adapter(chat_model: Path, directory: Path, weights: str) -> None:
    model = puna.load(chat_model, weights=weights, adapter=directory, measure=False)
    texts = model.generate(PROMPTS, **GREEDY)
    again = puna.load(chat_model, weights=weights, adapter=directory, measure=False)
    assert texts == [again.generate(prompt, **GREEDY) for prompt in PROMPTS]  # each alone
    assert texts != model.generate(PROMPTS, **GREEDY, adapter="")


def test_an_adapter_alone_is_loaded_with_the_model_that_it_names(
    chat_model: Path, directory: Path, whole: puna.LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model = puna.load(directory)
    assert f"{directory}: an adapter of {chat_model}, which is loaded with it" in capsys.readouterr().err
    same_texts(model, whole)
    assert model.path == chat_model
    with pytest.raises(GenerateError, match="is an adapter itself, and takes no other"):
        puna.load(directory, adapter=directory)


def test_a_run_with_an_adapter_alone_is_loaded_with_its_model_in_the_bits_of_the_run(
    chat_model: Path, adapter: Adapter, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "tuned")
    write_adapter(adapter, run.adapter)
    assert directory_of_adapter(run) == run.adapter
    assert model_of_adapter(run) == (str(chat_model), None)
    (run.root / "config.toml").write_text(
        'name = "tuned"\nextends = "chat-lora"\n[finetune]\nbase = "int4"\n'
    )  # fmt: skip
    assert model_of_adapter(run) == (str(chat_model), "int4")
    assert puna.load(run, measure=False).runner.title.startswith("int4 kernels")
    assert puna.load(run, weights="float32").runner.title.startswith("float32 kernels")
    with pytest.raises(ExportError, match="has no model, but an adapter alone") as refused:
        puna.export(run, "hf")
    assert f"puna export {run.adapter} --to hf" in refused.value.hint
    run.model.mkdir()
    (run.model / "model.toml").touch()
    assert model_of_adapter(run) is None  # its model is the merged one
    assert model_of_adapter(run.adapter) is not None


def test_embeddings_that_were_trained_whole_come_with_one_adapter_and_not_with_several(
    chat_model: Path, adapter: Adapter, tmp_path: Path
) -> None:
    base = puna.load(chat_model)
    rows, width = base.config.vocab_size, base.config.dim
    embeddings = torch.randn(rows + 3, width, generator=torch.Generator().manual_seed(5)) * 0.2
    output = torch.randn(rows + 3, width, generator=torch.Generator().manual_seed(6)) * 0.2
    grown = replace(adapter, whole={"tok_embeddings.weight": embeddings, "output.weight": output})
    write_adapter(grown, tmp_path / "grown")
    model = puna.load(chat_model, adapter=tmp_path / "grown")
    assert model.config.vocab_size == rows + 3
    llama = merged(base.model, adapter)
    ids = [rows + 2, 5]
    llama.tok_embeddings.weight.data = embeddings
    llama.output.weight.data = output
    with torch.no_grad():
        expected = llama(torch.tensor([ids]))[0].log_softmax(-1)
    (found,) = model.engine.score([((ids[0],), (ids[1],))], adapter=model.adapter)
    assert found.logprobs[0] == pytest.approx(expected[0, 5].item(), abs=1e-4)
    with pytest.raises(GenerateError, match=r"adapter new: output\.weight was trained whole"):
        puna.load(chat_model, adapter={"new": tmp_path / "grown"})


def test_an_evaluation_with_an_adapter_is_of_another_model(
    chat_model: Path, directory: Path, whole: puna.LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = str(write_tasks(tmp_path / "mine"))
    plain = puna.evaluate(str(chat_model), tasks=tasks)
    done = puna.evaluate(str(chat_model), tasks=tasks, adapter=str(directory))
    assert done.directory.root.name == f"{chat_model.name}+{directory.parent.name}"
    assert done.results.model.weights_sha256 != plain.results.model.weights_sha256
    assert str(directory) in done.results.model.path
    found = [task.metrics for task in done.results.tasks]
    expected = puna.evaluate(whole, tasks=tasks, out=tmp_path / "merged")
    assert found == [task.metrics for task in expected.results.tasks]


def test_what_is_not_an_adapter_of_the_model_is_a_sentence(chat_model: Path, adapter: Adapter, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"is not an adapter, it has no adapter_config\.json"):
        puna.load(chat_model, adapter=tmp_path)
    config = puna.load(chat_model).config
    other = random_adapter(config.model_copy(update={"n_layers": 3}), only=BLOCKS)
    write_adapter(other, tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"changes layers\.2\..* which the model does not have"):
        puna.load(chat_model, adapter=tmp_path / "other")
    write_adapter(replace(adapter, base=""), tmp_path / "nameless")
    with pytest.raises(FormatError, match="does not say which model it was trained on"):
        puna.load(tmp_path / "nameless")

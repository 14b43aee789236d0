"""A tiny model that was tuned answers and stops: in transformers, in llama.cpp and here, and after the way back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import puna
from puna.chat.example import Example
from puna.chat.masks import tokens_of
from puna.chat.messages import Message
from puna.chat.shipped import ChatSetup, chat_setup
from puna.config.recipe import ModelConfig
from puna.formats.checkpoint import Hints
from puna.formats.export_model import Options, Text, export_model
from puna.formats.gguf.llama_server import LlamaServer
from puna.formats.import_model import import_model
from puna.model.files import save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.sentencepiece import SentencePieceTokenizer

transformers = pytest.importorskip("transformers")

ASKED = {"What is it?": "A frame.", "And the other?": "It returns self.", "Who?": "Nobody."}
MOST = 24
"""Tokens of an answer, more than any of these has."""
_STEPS = 250


def example(question: str) -> Example:
    return Example(messages=(Message("user", question), Message("assistant", ASKED[question])))


def tuned(setup: ChatSetup) -> Llama:
    """A model that has learned the answers by heart, and what ends them."""
    model = Llama(
        ModelConfig(dim=64, n_layers=2, n_heads=4, ffn_dim=128, vocab_size=setup.tokenizer.vocab_size, context=128)
    )
    init_weights(model, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    examples = [tokens_of(setup.template, example(question)) for question in ASKED]
    for _ in range(_STEPS):
        losses = []
        for tokens in examples:
            ids = torch.tensor([tokens.ids])
            logits_V = model(ids[:, :-1]).squeeze(0)
            learned = torch.tensor(tokens.learned[1:])
            losses.append(torch.nn.functional.cross_entropy(logits_V[learned], ids[0, 1:][learned]))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    return model.eval()


@pytest.fixture(scope="module", params=["chatml", "flan", "llama2"])
def setup(request: pytest.FixtureRequest, tokenizer: SentencePieceTokenizer) -> ChatSetup:
    return chat_setup(request.param, None, tokenizer)


@pytest.fixture(scope="module")
def model(setup: ChatSetup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "model"
    save_model(tuned(setup), out, tokenizer=setup.tokenizer, inputs={}, chat_template=setup.template.source)
    return out


@pytest.fixture(scope="module")
def exported(model: Path) -> dict[str, Path]:
    forms = {form: model.parent / form for form in ("hf", "gguf")}
    for form, place in forms.items():
        export_model(model, form, place, Text("x", "x"), Options(run=False))
    return forms


def here(place: Path) -> list[str]:
    model = puna.load(place)
    return [model.chat([{"role": "user", "content": question}], max_tokens=MOST, temperature=0.0) for question in ASKED]


def test_it_stops_here(model: Path, setup: ChatSetup) -> None:
    """`flan` has EOS before an answer, behind which a dummy prefix is not text; `llama2` writes spaces around it."""
    around = " " if "[INST]" in setup.template.source else ""
    assert here(model) == [f"{around}{answer}{around}" for answer in ASKED.values()]


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_it_stops_after_the_way_back_and_has_its_template(
    setup: ChatSetup, exported: dict[str, Path], form: str, tmp_path: Path
) -> None:
    import_model(exported[form], tmp_path / "back", Hints())
    assert [answer.strip() for answer in here(tmp_path / "back")] == [*ASKED.values()]
    back = puna.load(tmp_path / "back")
    assert back.chat_template == setup.template.source
    assert back.tokenizer.stops == setup.tokenizer.stops
    for question in ASKED:
        again = chat_setup("own", back.chat_template, back.tokenizer)
        assert tokens_of(again.template, example(question)) == tokens_of(setup.template, example(question))


def test_it_stops_in_transformers(exported: dict[str, Path]) -> None:
    """With nothing but what is in the directory: its template, its tokenizer and its generation_config.json."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported["hf"])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(exported["hf"])
    for question, answer in ASKED.items():
        turns = [{"role": "user", "content": question}]
        asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            ids = theirs.generate(**asked, max_new_tokens=MOST, do_sample=False, pad_token_id=0)[0]
        said = ids[asked["input_ids"].shape[1] :]
        assert len(said) < MOST
        assert tokenizer.decode(said, skip_special_tokens=True).strip() == answer


@pytest.fixture(scope="module")
def server(exported: dict[str, Path]) -> Iterator[LlamaServer]:
    pytest.importorskip("xllamacpp")
    with LlamaServer(next(exported["gguf"].glob("*.gguf")), context=128) as opened:
        yield opened


@pytest.mark.oracle
def test_it_stops_in_llama_cpp(server: LlamaServer) -> None:
    for question, answer in ASKED.items():
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": MOST,
            "temperature": 0,
        }
        (choice,) = server.ask("v1/chat/completions", body)["choices"]
        assert (choice["message"]["content"].strip(), choice["finish_reason"]) == (answer, "stop")

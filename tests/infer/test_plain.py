import copy
from typing import Any

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.engine import Engine
from puna.infer.operator_runner import OperatorRunner
from puna.infer.plain import generate, generate_ids, generate_text
from puna.infer.requests import Request, Sampling
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer

GREEDY = {"temperature": 0.0, "top_p": 1.0, "seed": 0}
SAMPLED = {"temperature": 1.0, "top_p": 1.0, "seed": 3}


def greedy_by_full_passes(model: Llama, prompt_ids: list[int], n: int) -> list[int]:
    """Greedy decoding without a cache: one whole forward pass for every token."""
    ids = list(prompt_ids)
    with torch.no_grad():
        for _ in range(n):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt_ids) :]


@pytest.mark.parametrize("prompt_ids", [[1], [1, 400, 300], [1, *range(300, 320)]], ids=len)
def test_greedy_decoding_with_a_cache_equals_a_full_pass_per_token(model: Llama, prompt_ids: list[int]) -> None:
    n = model.config.context - len(prompt_ids)
    ids = list(generate_ids(model, prompt_ids, max_tokens=1000, stop_ids=(), **GREEDY))
    assert ids == greedy_by_full_passes(model, prompt_ids, n)


def test_a_model_that_turns_heads_by_their_number_decodes_with_a_cache_as_without() -> None:
    config = ModelConfig(
        dim=68, n_layers=2, n_heads=3, n_kv_heads=3, head_dim=22, ffn_dim=96, vocab_size=512, context=32, norm="layer",
        qk_norm=True, rotary="head", init_std=0.2,
    )  # fmt: skip
    model = Llama(config)
    init_weights(model, 0)
    ids = list(generate_ids(model, [1, 400, 300], max_tokens=1000, stop_ids=(), **GREEDY))
    assert ids == greedy_by_full_passes(model, [1, 400, 300], 29)
    assert len(set(ids)) > 5


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED, {"temperature": 0.7, "top_p": 0.8, "seed": 5}])
def test_the_engine_writes_the_same(model: Llama, settings: dict[str, Any]) -> None:
    prompts = [[1], [1, 400, 300], [1, *range(300, 320)]]
    asked = [Request(prompt=tuple(ids), max_tokens=100, sampling=Sampling(**settings)) for ids in prompts]
    found = Engine(OperatorRunner(model, pages=20, page_size=4), max_rows=8, max_requests=2).generate(asked)
    for ids, completion in zip(prompts, found, strict=True):
        expected = generate_ids(model, ids, max_tokens=100, stop_ids=(), **settings)
        assert [token.id for token in completion.tokens] == list(expected)


def test_max_tokens_is_the_number_of_tokens(model: Llama) -> None:
    for n in (1, 2, 10):
        assert len(list(generate_ids(model, [1], max_tokens=n, stop_ids=(), **GREEDY))) == n


def test_end_of_sequence_ends_the_text_and_is_not_part_of_it(model: Llama) -> None:
    endless = list(generate_ids(model, [1], max_tokens=20, stop_ids=(), **SAMPLED))
    stop = endless[7]
    ids = list(generate_ids(model, [1], max_tokens=20, stop_ids=[stop], **SAMPLED))
    assert ids == endless[: endless.index(stop)]


def test_full_context_is_said_and_other_ends_are_not(model: Llama) -> None:
    said: list[str] = []
    list(generate_ids(model, [1], max_tokens=31, stop_ids=(), on_stop=said.append, **GREEDY))
    assert said == []
    ids = list(generate_ids(model, [1], max_tokens=32, stop_ids=(), on_stop=said.append, **GREEDY))
    assert len(ids) == 31
    assert said == ["stopped: the model's context of 32 tokens is full"]


def test_prompt_longer_than_the_context_is_refused_with_both_lengths(model: Llama, tokenizer: Tokenizer) -> None:
    with pytest.raises(GenerateError, match=r"is \d\d+ tokens long, but the model's context is 32") as caught:
        next(generate(model, tokenizer, "word " * 100, max_tokens=5, **GREEDY))
    assert caught.value.hint
    longest = list(generate_ids(model, [1] * 31, max_tokens=5, stop_ids=(), **GREEDY))
    assert len(longest) == 1
    with pytest.raises(GenerateError):
        next(generate_ids(model, [1] * 32, max_tokens=5, stop_ids=(), **GREEDY))


def test_prompt_begins_with_the_beginning_of_sequence_token(model: Llama, tokenizer: Tokenizer) -> None:
    text = generate_text(model, tokenizer, "def f(x):", max_tokens=12, **GREEDY)
    ids = greedy_by_full_passes(model, [tokenizer.bos_id, *tokenizer.encode("def f(x):")], 12)
    assert tokenizer.eos_id not in ids
    assert text == b"".join(tokenizer.token_bytes()[token] for token in ids).decode("utf-8", errors="replace")


def test_doubled_beginning_of_sequence_is_warned_of(
    model: Llama, tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_text(model, tokenizer, "def f(x):", max_tokens=1, **GREEDY)
    assert capsys.readouterr().err == ""
    generate_text(model, tokenizer, "<s>def f(x):", max_tokens=1, **GREEDY)
    assert capsys.readouterr().err.count("warning: the prompt begins with <s>") == 1


def test_empty_prompt_starts_from_the_beginning_of_sequence_token(model: Llama, tokenizer: Tokenizer) -> None:
    assert generate_text(model, tokenizer, "", max_tokens=5, **SAMPLED)


@pytest.mark.parametrize("seed", range(5))
def test_streamed_pieces_join_to_the_whole_text(model: Llama, tokenizer: Tokenizer, seed: int) -> None:
    settings = {"max_tokens": 25, "temperature": 1.5, "top_p": 1.0, "seed": seed}
    pieces = list(generate(model, tokenizer, "class", **settings))
    assert all(pieces)
    assert "".join(pieces) == generate_text(model, tokenizer, "class", **settings)


def test_characters_of_several_tokens_come_whole(tokenizer: Tokenizer) -> None:
    text = "日本🙂é"
    ids = tokenizer.encode(text)
    assert len(ids) > len(text)
    pieces = list(generate(Scripted(ids, tokenizer), tokenizer, "", max_tokens=len(ids), **GREEDY))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_character_cut_off_by_max_tokens_is_marked(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂")
    pieces = list(generate(Scripted(ids, tokenizer), tokenizer, "", max_tokens=len(ids) - 1, **GREEDY))
    assert "".join(pieces) == "\ufffd"


def test_equal_seeds_write_equal_texts(model: Llama, tokenizer: Tokenizer) -> None:
    texts = [
        generate_text(model, tokenizer, "x", max_tokens=20, temperature=1.0, top_p=0.9, seed=seed) for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_model_in_training_is_not_disturbed(model: Llama, tokenizer: Tokenizer) -> None:
    model = copy.deepcopy(model).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.tensor([[1, 2]])).sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    state = torch.get_rng_state()
    generate_text(model, tokenizer, "x", max_tokens=5, **SAMPLED)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert torch.is_grad_enabled()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    model(torch.tensor([[1, 2]])).sum().backward()  # what the cache left behind would make this fail


class Scripted(torch.nn.Module):
    """A model that writes given tokens, whatever it reads."""

    def __init__(self, ids: list[int], tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = ModelConfig(
            dim=4, n_layers=1, n_heads=1, n_kv_heads=1, ffn_dim=4, vocab_size=tokenizer.vocab_size, context=200
        )
        self.tok_embeddings = torch.nn.Embedding(1, 1)
        self.ids = ids

    def hidden(self, tokens_BT: torch.Tensor, caches: object, start: int) -> torch.Tensor:
        written = start + tokens_BT.shape[1] - 1  # after the one token of the empty prompt
        return torch.tensor([[[float(written)]]])

    def output(self, x_BD: torch.Tensor) -> torch.Tensor:
        logits_BV = torch.zeros(1, self.config.vocab_size)
        logits_BV[0, self.ids[int(x_BD)]] = 1.0
        return logits_BV

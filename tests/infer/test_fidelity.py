"""What quantizing costs: compared with the same figures computed in one piece, in plain torch."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.fidelity import _CODE, TEXT, TOKENS, Fidelity, measure, remembered, text_ids
from puna.infer.runner import Rows
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer

FOUND = Fidelity(kl=0.02149, reference=17.309, perplexity=17.6, tokens=31)


class WholeText:
    """A runner that computes all that it was shown again; only for one sequence in the pages 0, 1, 2 and so on."""

    page_size, pages, exact, title = 16, 8, True, "the decoder"

    def __init__(self, model: Llama, factor: float = 1.0) -> None:
        self.config, self._model, self._factor = model.config, model, factor
        self._tokens = torch.zeros(self.pages * self.page_size, dtype=torch.int64)

    def logits(self, rows: Rows) -> Tensor:
        assert rows.tables_SP[rows.sequences_M.long(), rows.positions_M // self.page_size].tolist() == [
            position // self.page_size for position in rows.positions_M.tolist()
        ]
        self._tokens[rows.positions_M] = rows.tokens_M
        seen = self._tokens[None, : int(rows.positions_M.max()) + 1]
        return self._model(seen)[0, rows.positions_M.long()[rows.wanted_W]].float() * self._factor


@pytest.mark.parametrize("piece", [1, 7, 30])
def test_figures_are_those_of_all_distributions_at_once(model: Llama, piece: int) -> None:
    ids = torch.randint(0, 512, (30,), generator=torch.Generator().manual_seed(0)).tolist()
    with torch.no_grad():
        known_TV = model(torch.tensor([ids]))[0]
    found = measure(WholeText(model, 0.9), ids, known_TV.split(piece))
    p, q = known_TV.double().softmax(-1), (known_TV * 0.9).double().softmax(-1)
    assert found.kl == pytest.approx((p * (p / q).log()).sum(-1).mean().item(), rel=1e-5)
    loss, other = (
        torch.nn.functional.cross_entropy(logits_TV[:-1].double(), torch.tensor(ids[1:]))
        for logits_TV in (known_TV, known_TV * 0.9)
    )
    assert found.reference == pytest.approx(math.exp(loss), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(other), rel=1e-5)
    assert found.tokens == 30


def test_the_same_model_costs_nothing(model: Llama) -> None:
    ids = list(range(20))
    with torch.no_grad():
        found = measure(WholeText(model), ids, [model(torch.tensor([ids]))[0]])
    assert found.kl == pytest.approx(0, abs=1e-9)
    assert found.perplexity == pytest.approx(found.reference)


def test_scores_that_are_not_finite_are_a_sentence(model: Llama) -> None:
    with pytest.raises(GenerateError, match="not finite numbers"):
        measure(WholeText(model), [1, 2, 3], [torch.full((3, 512), math.nan)])


def test_the_sentence_has_both_perplexities() -> None:
    assert str(FOUND) == "KL 0.0215 nats/token, perplexity 17.31 -> 17.60, on 31 tokens"


def test_the_text_is_as_long_as_the_context_allows(tokenizer: Tokenizer) -> None:
    ids = text_ids(tokenizer, 10_000)
    assert len(ids) == TOKENS
    assert TEXT.read_text().startswith(tokenizer.decode(ids[1:100] if tokenizer.add_bos else ids[:100]))
    assert text_ids(tokenizer, 31) == ids[:31]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "puna" / "fidelity"


def results() -> Iterator[Fidelity]:
    yield FOUND
    yield Fidelity(kl=1.0, reference=2.0, perplexity=3.0, tokens=4)


def test_figures_are_found_once_for_each_key(cache: Path) -> None:
    found = results()
    assert remembered({"model": "a"}, lambda: next(found)) == FOUND
    assert remembered({"model": "a"}, lambda: next(found)) == FOUND
    assert remembered({"model": "b"}, lambda: next(found)).kl == 1
    assert len(list(cache.iterdir())) == 2


def test_figures_of_other_code_are_not_those_of_this(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = results()
    assert remembered({"model": "a"}, lambda: next(found)) == FOUND
    monkeypatch.setattr("puna.infer.fidelity._code", lambda: "another")
    assert remembered({"model": "a"}, lambda: next(found)).kl == 1


def test_the_code_of_the_figures_is_what_quantizes_and_what_computes() -> None:
    assert {"load.py", "kernel_runner.py", "quantized.py", "packing.cpp", "decoder.cpp", "vectors.h"} <= {
        file.name for file in _CODE
    }


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"kl": 1}', b"\xff"])
def test_a_damaged_file_is_made_again(cache: Path, damage: bytes) -> None:
    found = results()
    remembered({}, lambda: next(found))
    file = next(cache.iterdir())
    good = file.read_bytes()
    file.write_bytes(damage)
    assert remembered({}, lambda: FOUND) == FOUND
    assert file.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_passed_over(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"a file where the directory should be")
    assert remembered({}, lambda: FOUND) == FOUND

"""How far another implementation may be from ours: rounding passes and small faults do not, at any scale of logits."""

import math

import pytest
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.formats.oracle import Difference, not_asked
from puna.model.init import init_weights
from puna.model.llama import Llama

LENGTH = 16


def logits(model: Llama, tokens_BT: Tensor) -> Tensor:
    with torch.no_grad():
        return model.output(model.hidden(tokens_BT))[0]


def decoder(vocab_size: int, *, dtype: torch.dtype = torch.float32, theta: float = 10_000.0) -> Llama:
    config = ModelConfig(
        dim=64, n_layers=4, n_heads=4, n_kv_heads=4, vocab_size=vocab_size, context=64, ffn_dim=160, rope_theta=theta
    )
    model = Llama(config)
    init_weights(model, 0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and "embed" not in name and name != "output.weight":
                parameter.mul_(4)  # layers of some weight beside the embedding, as after training
    return model.to(dtype)


@pytest.mark.parametrize(("spread", "vocab_size"), [(0.3, 32_000), (4, 32_000), (30, 32_000), (4, 128_256)])
def test_rounding_passes_and_faults_do_not(spread: float, vocab_size: int) -> None:
    tokens_BT = torch.randint(0, vocab_size, (1, LENGTH), generator=torch.Generator().manual_seed(0))
    ours = decoder(vocab_size)
    scale = spread / logits(ours, tokens_BT).std().item()
    with torch.no_grad():
        ours.output.weight.mul_(scale)
    ours_TV = logits(ours, tokens_BT)
    exact = decoder(vocab_size, dtype=torch.float64)
    exact.load_state_dict(ours.state_dict())

    def difference(theirs: Llama, *, log: bool = False) -> Difference:
        found = Difference(ours.config, LENGTH)
        theirs_TV = logits(theirs, tokens_BT)
        found.add(*(x.double().log_softmax(-1) if log else x for x in (ours_TV, theirs_TV)))
        return found

    for log in (False, True):
        rounding = difference(exact, log=log)
        assert 0 < rounding.largest <= rounding.allowed
    turned = decoder(vocab_size, dtype=torch.float64, theta=10_100.0)
    turned.load_state_dict(ours.state_dict())
    assert difference(turned).largest > difference(turned).allowed
    with torch.no_grad():
        exact.layers[2].feed_forward.w2.weight.mul_(1 + 1e-3)
    assert difference(exact).largest > difference(exact).allowed
    assert difference(exact, log=True).largest > difference(exact, log=True).allowed


def test_what_is_not_a_number_is_beyond_any_bound() -> None:
    found = Difference(decoder(300).config, LENGTH)
    found.add(torch.ones(2, 3), torch.tensor([[1.0, 1, 1], [1, math.nan, 1]]))
    found.add(torch.ones(2, 3), torch.ones(2, 3))
    assert found.largest == math.inf


def test_an_answer_that_nobody_gave_says_why() -> None:
    assert not_asked("it is not here").oracle_missing == "it is not here"

"""Training itself, beside PEFT's: the same first adapter and the same batches give the same losses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.config.finetune import FinetuneConfig
from puna.config.recipe import OptimConfig
from puna.formats.peft.write import write_adapter
from puna.model import lora
from puna.train.optimizer import build_optimizer, set_learning_rate

# PEFT asks transformers for a name that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

STEPS, LR = 20, 1e-2


@pytest.mark.oracle
@pytest.mark.parametrize("form", [{}, {"rank_stabilised": True}, {"dora": True}], ids=["lora", "rslora", "dora"])
def test_losses_of_a_run_are_those_of_peft(
    source: Callable[..., Any], decoder: Callable[..., Any], huggingface: Callable[..., Any], tmp_path: Path,
    form: dict[str, Any],
) -> None:  # fmt: skip
    peft = pytest.importorskip("peft")
    base = source()
    ours = decoder(base).train()
    lora.apply(ours, FinetuneConfig.model_validate({"method": "lora", "lora": {"rank": 4, "alpha": 8.0} | form}))
    write_adapter(lora.adapter_of(ours), tmp_path / "first", layers=base.config.n_layers)
    theirs = peft.PeftModel.from_pretrained(huggingface(base), tmp_path / "first", is_trainable=True)
    learning = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(learning, lr=LR, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    optimizer = build_optimizer(ours, OptimConfig(eps=1e-8, weight_decay=0.0))
    set_learning_rate(optimizer, LR)
    generator, losses = torch.Generator().manual_seed(4), []
    for _ in range(STEPS):
        tokens_BT = torch.randint(0, 64, (4, 33), generator=generator)
        pair = []
        for logits_BTV in (ours(tokens_BT[:, :-1]), theirs(tokens_BT[:, :-1]).logits):
            loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())
            loss.backward()
            pair.append(loss.item())
        losses.append(pair)
        optimizer.step()
        adamw.step()
        optimizer.zero_grad()
        adamw.zero_grad()
    found, expected = torch.tensor(losses).T
    assert expected[-1] < expected[0] - 0.5
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)

"""Every layout takes the step of one process: the loss, every parameter's gradient, the norm and the new weights.

The cases cross layouts with recomputation, compilation, document masks, z-loss, tied embeddings, grouped queries,
optimizers, precisions, losses of pairs and the noise of tuning. Tolerances, in float32: 2e-6 of the largest gradient of
a tensor (sums in another order), and for weights after AdamW's first step, which divides each gradient by its own size,
1e-4 where the step is 1e-2.
"""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from puna.model.files import save_model
from puna.model.init import init_weights
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective
from puna.parallel.world import joined

TENSOR, CONTEXT, REPLICATE = ({"parallel": {name: 2}} for name in ("tensor", "context", "replicate"))
LORA = {"finetune": {"method": "lora", "lora": {"rank": 3, "alpha": 3.0}, "freeze": ["layers.0.*"]}}
DORA = {"finetune": {"method": "lora", "lora": {"rank": 3, "dora": True}}}
INT4 = {"finetune": {"method": "lora", "lora": {"rank": 3, "alpha": 3.0}, "base": "int4"}}
GROUPED = {"model": {"n_kv_heads": 2}}
ADAFACTOR = {"optim": {"name": "adafactor"}, "model": {"dim": 128, "ffn_dim": 152, "n_layers": 2}}
NOISE = {"finetune": {"dropout": 0.1, "neftune": 5.0}}
LONG = {"model": {"context": 512, "n_layers": 2}, "train": {"micro_batch_tokens": 512, "document_mask": True}}

TWO: dict[str, dict[str, Any]] = {
    "shard": {},
    "shard, two passes": {"train": {"micro_batch_tokens": 32}},
    "shard, full": {"train": {"recompute": "full"}},
    "shard, compiled, llama": {"train": {"compile": True, "recompute": "llama"}},
    "shard, tied": {"model": {"tie_embeddings": True}},
    "shard, documents, z-loss": {"train": {"document_mask": True, "z_loss": 1e-2}},
    "shard, bf16": {"train": {"precision": "bf16"}},
    "shard, muon": {"optim": {"name": "muon"}},
    "shard, layer norms": {"model": {"norm": "layer", "qk_norm": True}},
    "shard, layer norms with biases": {"model": {"norm": "layer-bias"}},
    "replicate": REPLICATE | {"train": {"micro_batch_tokens": 32}},
    "tensor": TENSOR,
    "tensor, compiled": TENSOR | {"train": {"compile": True}},
    "tensor, llama": TENSOR | {"train": {"recompute": "llama"}},
    "tensor, tied, z-loss": TENSOR | {"model": {"tie_embeddings": True}, "train": {"z_loss": 1e-2}},
    "tensor, grouped, every-2": TENSOR | GROUPED | {"train": {"recompute": "every-2"}},
    "tensor, documents": TENSOR | {"train": {"document_mask": True}},
    "tensor, muon": TENSOR | {"optim": {"name": "muon"}},
    "context": CONTEXT,
    "context, documents": CONTEXT | {"train": {"document_mask": True}},
    "context, compiled, llama": CONTEXT | {"train": {"compile": True, "recompute": "llama"}},
    "context, grouped, full": CONTEXT | GROUPED | {"train": {"recompute": "full"}},
    "context, long": CONTEXT | LONG,
    "shard, pairs": {"pairs": "dpo"},
    "shard, pairs, bf16": {"pairs": "ipo", "train": {"precision": "bf16"}},
    "tensor, pairs": TENSOR | {"pairs": "dpo-norm"},
    "context, pairs": CONTEXT | {"pairs": "apo-zero"},
    "shard, noise, two passes": NOISE | {"train": {"micro_batch_tokens": 32}},
    "shard, noise, compiled, full": NOISE | {"train": {"compile": True, "recompute": "full"}},
    "tensor, noise, llama": TENSOR | NOISE | {"train": {"recompute": "llama"}},
    "context, noise": CONTEXT | NOISE,
    "shard, pairs, noise": {"pairs": "dpo"} | NOISE,
    "shard, adafactor": ADAFACTOR,
    "tensor, adafactor": TENSOR | ADAFACTOR,
    "shard, lora, frozen block": LORA,
    "shard, dora, two passes, full": DORA | {"train": {"micro_batch_tokens": 32, "recompute": "full"}},
    "shard, lora, bf16": LORA | {"train": {"precision": "bf16"}},
    "shard, int4 base, compiled, llama": INT4 | {"train": {"compile": True, "recompute": "llama"}},
    "tensor, dora, grouped": DORA | TENSOR | GROUPED,
    "tensor, lora, compiled, llama": LORA | TENSOR | {"train": {"compile": True, "recompute": "llama"}},
    "tensor, frozen": TENSOR | {"finetune": {"freeze": ["tok_embeddings.*", "layers.[01].*"]}},
    "context, lora, inputs dropped": CONTEXT
    | {"finetune": {"method": "lora", "lora": {"rank": 3, "alpha": 3.0, "dropout": 0.2}}},
    "context, dora, documents": DORA | CONTEXT | {"train": {"document_mask": True}},
}

FOUR: dict[str, dict[str, Any]] = {
    "shard x tensor": TENSOR,
    "shard x tensor, muon, llama": TENSOR | {"optim": {"name": "muon"}, "train": {"recompute": "llama"}},
    "shard x tensor, bf16": TENSOR | {"train": {"precision": "bf16"}},
    "shard x context": CONTEXT,
    "shard x replicate": REPLICATE | {"train": {"micro_batch_tokens": 32}},
    "context x tensor": {"parallel": {"context": 2, "tensor": 2}},
    "context x tensor, compiled, llama": {
        "parallel": {"context": 2, "tensor": 2},
        "train": {"compile": True, "recompute": "llama", "document_mask": True},
    },
    "tensor x 4": {"parallel": {"tensor": 4}},
    "context x tensor, pairs": {"parallel": {"context": 2, "tensor": 2}, "pairs": "dpo"},
    "context x 4, documents": {"parallel": {"context": 4}, "train": {"document_mask": True}},
    "replicate x tensor": {"parallel": {"replicate": 2, "tensor": 2}},
    "shard x tensor, adafactor": TENSOR | ADAFACTOR,
    "replicate, adafactor": REPLICATE | ADAFACTOR | {"train": {"micro_batch_tokens": 32}},
    "context x tensor, noise": {"parallel": {"context": 2, "tensor": 2}} | NOISE,
    "shard x tensor, dora": DORA | TENSOR,
}

Run = Callable[..., Any]
WRAPPED = re.compile(r"_checkpoint_wrapped_module\.|_orig_mod\.")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-stochastic"])
def test_angles_are_float32_in_every_precision(worker: ModuleType, precision: str):
    recipe = worker.recipe_of({"train": {"precision": precision}})
    seen = []
    with joined() as world:
        mesh = build_mesh(recipe.parallel, world)
        model = build_model(recipe, mesh, world.device)
        model.layers[1].register_forward_pre_hook(lambda module, inputs: seen.append([x.dtype for x in inputs[:3]]))
        with Objective.of(recipe, model, mesh).passes():
            model.hidden(worker.tokens_of(recipe)[:, :-1])
    passes = torch.float32 if precision == "fp32" else torch.bfloat16
    assert seen == [[passes, torch.float32, torch.float32]]


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference as a share of the largest number."""
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)).item()


@pytest.mark.parametrize(("processes", "cases"), [(2, TWO), (4, FOUR)], ids=["two", "four"])
def test_every_layout_takes_the_step_of_one_process(
    together: Run, alone: Run, processes: int, cases: dict[str, dict[str, Any]]
):
    keys = {name: name.replace(" ", "_").replace(",", "") for name in cases}
    outcomes = together(processes, {keys[name]: case for name, case in cases.items()})
    problems = []
    for name, case in cases.items():
        ours, reference = outcomes[keys[name]], alone(case)
        assert ours.keys() == reference.keys(), name
        assert sum(key.startswith("grad.") for key in ours) >= (20 if "frozen" not in name else 10)
        # Sums of bfloat16 passes are rounded where they meet; Muon orthogonalises in bfloat16.
        share = 2e-2 if "bf16" in name else 2e-6
        moved = 2.1e-2 if "bf16" in name else 5e-4 if "muon" in name else 1e-4
        for key, theirs in reference.items():
            if key.startswith("weight."):
                worst, allowed = (ours[key] - theirs).abs().max().item(), moved
            else:
                worst, allowed = _difference(ours[key], theirs), share
            if not worst <= allowed:
                problems.append(f"{name}: {key} differs by {worst:.2e}, allowed {allowed:.0e}")
    assert problems == []


FILLED: dict[int, dict[str, dict[str, Any]]] = {
    2: {
        "shard": {},
        "shard, recomputed": {"train": {"recompute": "full"}},
        "shard, bf16-stochastic": {"train": {"precision": "bf16-stochastic"}},
        "tensor": TENSOR,
        "context": CONTEXT,
        "replicate": REPLICATE | {"train": {"micro_batch_tokens": 32}},
    },
    4: {"shard x tensor": TENSOR},
}


@pytest.mark.parametrize("processes", [2, 4])
def test_every_layout_is_filled_with_the_weights_of_a_directory(
    together: Run, worker: ModuleType, tmp_path: Path, processes: int
):
    with joined() as world:
        recipe = worker.recipe_of({})
        model = build_model(recipe, build_mesh(recipe.parallel, world), world.device)
    init_weights(model, 99)
    save_model(model, tmp_path / "model", tokenizer=None, inputs={})
    cases = FILLED[processes]
    keys = {name: name.replace(" ", "_").replace(",", "") for name in cases}
    filled_from = {"filled_from": str(tmp_path / "model")}
    outcomes = together(processes, {keys[name]: case | filled_from for name, case in cases.items()})
    for name in cases:
        dtype = torch.bfloat16 if "bf16" in name else torch.float32
        for parameter, expected in model.named_parameters():
            found = next(v for k, v in outcomes[keys[name]].items() if WRAPPED.sub("", k) == f"weight.{parameter}")
            assert torch.equal(found, expected.to(dtype).float()), (name, parameter)

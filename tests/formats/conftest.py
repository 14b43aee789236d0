"""Sources of weights for writers, and saved models of several kinds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from memory import SHAPE, MemoryCheckpoint, random_checkpoint

from puna.config.recipe import ModelConfig
from puna.formats.checkpoint import Checkpoint
from puna.formats.table import weights
from puna.model.files import save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer

SHAPES = {
    "full heads": {"n_kv_heads": 4},
    "grouped heads": {"n_kv_heads": 2, "rope_theta": 5e5, "norm_eps": 1e-5},
    "wide heads": {"n_kv_heads": 2, "head_dim": 24},
    "tied": {"n_kv_heads": 1, "tie_embeddings": True},
    "linear scaling": {"n_kv_heads": 4, "rope_scaling": {"kind": "linear", "factor": 2.5}},
    "Llama 3.1's scaling": {
        "n_kv_heads": 2, "rope_scaling": {"kind": "llama3", "factor": 8.0, "original_context": 32},
    },
}  # fmt: skip


def model_of(checkpoint: Checkpoint) -> Llama:
    """Our decoder with a checkpoint's weights in float32, ready to run."""
    with torch.device("meta"):
        model = Llama(checkpoint.config)
    state = {weight.name: checkpoint.tensor(weight.name).float().clone() for weight in weights(checkpoint.config)}
    if checkpoint.config.tie_embeddings:
        state["output.weight"] = state["tok_embeddings.weight"]
    model.load_state_dict(state, assign=True)
    model.tie()
    return model.eval()


@pytest.fixture(scope="session")
def source() -> Callable[..., MemoryCheckpoint]:
    """Makes random weights in memory: `source(n_kv_heads=1, dtype=torch.bfloat16)`."""
    return random_checkpoint


@pytest.fixture(scope="session")
def decoder() -> Callable[[Checkpoint], Llama]:
    """Makes our decoder of a checkpoint, in float32."""
    return model_of


@pytest.fixture(scope="session", params=SHAPES)
def model_dir(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of each kind. Read it, do not change it."""
    model = Llama(ModelConfig.model_validate(SHAPE | SHAPES[request.param]))
    init_weights(model, 0)
    out = tmp_path_factory.mktemp("model") / "model"
    save_model(model, out, tokenizer=tokenizer, inputs={"data": "hash"})
    return out

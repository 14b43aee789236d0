"""A small tokenizer and models of several kinds, saved."""

from pathlib import Path

import pytest

from puna.config.recipe import ModelConfig
from puna.export.hf import write_hf
from puna.model.files import save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer

SHAPES = {
    "full heads": {"n_kv_heads": 4},
    "grouped heads": {"n_kv_heads": 2, "rope_theta": 5e5, "norm_eps": 1e-5},
    "tied": {"n_kv_heads": 1, "tie_embeddings": True},
    "linear scaling": {"n_kv_heads": 4, "rope_scaling": {"kind": "linear", "factor": 2.5}},
    "Llama 3.1's scaling": {
        "n_kv_heads": 2, "rope_scaling": {"kind": "llama3", "factor": 8.0, "original_context": 32},
    },
}  # fmt: skip


@pytest.fixture(scope="session", params=SHAPES)
def model_dir(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of each kind. Read it, do not change it."""
    shape = {"dim": 80, "n_layers": 2, "n_heads": 4, "ffn_dim": 96, "vocab_size": 512, "context": 64, "init_std": 0.1}
    model = Llama(ModelConfig.model_validate(shape | SHAPES[request.param]))
    init_weights(model, 0)
    out = tmp_path_factory.mktemp("model") / "model"
    save_model(model, out, tokenizer_bytes=tokenizer.model_bytes, inputs={"data": "hash"})
    return out


@pytest.fixture(scope="session")
def exported(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each model's export. Read it, do not change it."""
    out = tmp_path_factory.mktemp("export") / "hf"
    write_hf(model_dir, out, force=False)
    return out

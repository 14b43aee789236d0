import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.export.names import huggingface_names
from puna.model.llama import Llama

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_has_the_name_that_transformers_gives_it(tied: bool) -> None:
    config = ModelConfig(
        dim=32, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=300, context=16, tie_embeddings=tied
    )
    with torch.device("meta"):
        ours = dict(Llama(config).named_parameters())
        theirs = dict(
            transformers.LlamaForCausalLM(
                transformers.LlamaConfig(
                    vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=2, tie_word_embeddings=tied,
                )
            ).named_parameters()
        )  # fmt: skip
    names = huggingface_names(config)
    assert names.keys() == ours.keys()
    assert {name: ours[mine].shape for mine, name in names.items()} == {n: p.shape for n, p in theirs.items()}

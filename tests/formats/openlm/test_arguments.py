from pathlib import Path

import pytest

from puna.core.errors import FormatError
from puna.formats.openlm.arguments import refuse_of_a_decoder

FILE = Path("run/params.txt")
READ = frozenset({"attn_name", "n_heads"})


@pytest.mark.parametrize(
    "name",
    ["rotary_old", "attn_window", "use_alibi", "logit_scale", "embedding_multiplier", "qk_gain", "n_kv_heads",
     "use_bnb_linear", "mlp_bias", "tied", "d_ffn", "moe_shared", "causal", "ssm_cfg"],
)  # fmt: skip
def test_an_unknown_part_of_the_decoder_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match=rf"run/params.txt: has '{name}' = 'True', which open_lm does not have"):
        refuse_of_a_decoder(FILE, {"lr": 1, name: "True"}, READ)


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_what_is_off_or_empty_is_passed_over(value: object) -> None:
    assert refuse_of_a_decoder(FILE, {"attn_window": value, "frobnicate": value}, READ) == []


def test_only_what_is_not_read_not_of_the_training_and_not_private_is_unknown() -> None:
    values = {"attn_name": "auto", "lr_scheduler": "cosine", "moe_top_k": 2, "_attn_implementation": "sdpa", "node": 3}
    assert refuse_of_a_decoder(FILE, values, READ) == ["node"]

from collections.abc import Callable
from typing import Any

from puna.formats.checkpoint import Stored
from puna.formats.describe import as_dict, describe
from puna.tokenizer.tokenizer import Tokenizer


def test_it_names_what_was_found(source: Callable[..., Any], tokenizer: Tokenizer) -> None:
    model = source(tie_embeddings=True)
    model.notes = ["no file says the context: 2048 was assumed"]
    lines = describe(model, "Test format", tokenizer)
    assert lines == [
        "format         Test format, memory",
        "parameters     125,840 (126k)",
        "decoder        2 layers, width 80, 4 heads of 20, 2 key heads, feed-forward 96, 512 tokens, context 64",
        "architecture   tie_embeddings = true, n_kv_heads = 2 for n_heads = 4; rope_theta 10000, norm_eps 1e-06",
        "weights        20 tensors, 491.6 KiB: 20 float32",
        "tokenizer      SentencePiece BPE, 512 tokens, BOS <s> (1), EOS </s> (2), BOS before every text",
        "note           no file says the context: 2048 was assumed",
    ]


def test_missing_and_extra_tensors_are_named_and_counted(source: Callable[..., Any]) -> None:
    model = source()
    model.stored = {name: Stored("Q4_0", 9) for name in list(model.stored)[4:]}
    model.extra = ["score.weight"]
    lines = describe(model, "Test format", None)
    assert lines[-3] == "tokenizer      none found"
    assert lines[-2].startswith("missing        4 tensors: tok_embeddings.weight, ")
    assert lines[-2].endswith(" and 1 more")
    assert lines[-1] == "not a LLaMA's  1 tensors: score.weight"


def test_programs_get_the_same(source: Callable[..., Any], tokenizer: Tokenizer) -> None:
    model = source()
    found = as_dict(model, "memory", tokenizer)
    assert found["parameters"] == sum(tensor.numel() for tensor in model.tensors.values())
    assert found["tensors"]["norm.weight"] == {"shape": [80], "dtype": "float32", "bytes": 320}
    assert found["model"]["n_kv_heads"] == 2
    assert found["tokenizer"]["vocab_size"] == 512
    assert as_dict(model, "memory", None)["tokenizer"] is None


def test_what_files_say_does_not_steer_the_terminal(source: Callable[..., Any]) -> None:
    model = source()
    model.notes = ["config.json says \x1b[2J"]
    assert describe(model, "Test format", None)[-1] == r"note           config.json says \x1b[2J"

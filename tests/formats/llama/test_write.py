import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.core.errors import ExportError, TokenizerError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.llama.params import SCALED_ROPE
from puna.formats.llama.read import open_llama
from puna.formats.llama.write import write_llama
from puna.model.llama import Llama
from puna.tokenizer.tiktoken import read_tiktoken
from puna.tokenizer.tokenizer import Tokenizer

Source = Callable[..., Checkpoint]

GROUPED = {"dim": 160, "n_heads": 8, "ffn_dim": 200, "norm_eps": 1e-5}
"""Eight query heads of 20, so that 8 files can share them."""


def files(directory: Path) -> list[dict[str, Tensor]]:
    return [torch.load(file, weights_only=True) for file in sorted(directory.glob("consolidated.*.pth"))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("heads", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_what_is_written_is_read_back_bit_for_bit_into_the_same_decoder(
    source: Source, tmp_path: Path, count: int, heads: int, tied: bool, dtype: torch.dtype
) -> None:
    model = source(dtype, n_kv_heads=heads, tie_embeddings=tied, **GROUPED)
    write_llama(model, None, tmp_path, model_parallel=count)
    for hints in (Hints(context=64), Hints(n_heads=8, n_kv_heads=heads, context=64, norm_eps=1e-5, rope_theta=1e4)):
        read = open_llama(tmp_path, hints)
        assert read.config.model_dump(exclude={"init_std"}) == model.config.model_dump(exclude={"init_std"})
        read.check_complete()
        assert read.stored == model.stored
        for name in model.stored:
            assert read.tensor(name).dtype == dtype
            assert torch.equal(read.tensor(name), model.tensor(name)), name


def test_tensors_of_several_dtypes_stay_so(source: Source, tmp_path: Path) -> None:
    model = source(torch.bfloat16)
    for name, tensor in model.tensors.items():
        if "norm" in name:
            model.tensors[name] = tensor.float()
    write_llama(model, None, tmp_path, model_parallel=2)
    read = open_llama(tmp_path, Hints())
    assert read.stored["norm.weight"].dtype == "float32"
    assert all(torch.equal(read.tensor(name), tensor) for name, tensor in model.tensors.items())


def test_params_and_shapes_are_metas_and_llama_1_cuts_the_embedding_by_columns(source: Source, tmp_path: Path) -> None:
    write_llama(source(n_kv_heads=4), None, tmp_path, model_parallel=2)
    params = json.loads((tmp_path / "params.json").read_text())
    assert set(params) == {"dim", "multiple_of", "n_heads", "n_layers", "norm_eps", "vocab_size", "ffn_dim_multiplier"}
    first, second = files(tmp_path)
    shapes = {name: list(tensor.shape) for name, tensor in first.items() if "layers.1" not in name}
    assert {name.removeprefix("layers.0."): shape for name, shape in shapes.items()} == {
        "tok_embeddings.weight": [512, 40], "norm.weight": [80], "output.weight": [256, 80],
        "attention_norm.weight": [80], "attention.wq.weight": [40, 80], "attention.wk.weight": [40, 80],
        "attention.wv.weight": [40, 80], "attention.wo.weight": [80, 40], "ffn_norm.weight": [80],
        "feed_forward.w1.weight": [48, 80], "feed_forward.w2.weight": [80, 48], "feed_forward.w3.weight": [48, 80],
    }  # fmt: skip
    assert torch.equal(first["norm.weight"], second["norm.weight"])


def test_llama_3_cuts_the_embedding_by_rows_and_tied_layers_are_the_same_bytes(source: Source, tmp_path: Path) -> None:
    write_llama(source(tie_embeddings=True), None, tmp_path, model_parallel=2)
    for tensors in files(tmp_path):
        assert tensors["tok_embeddings.weight"].shape == (256, 80)
        assert tensors["tok_embeddings.weight"].data_ptr() == tensors["output.weight"].data_ptr()
    assert json.loads((tmp_path / "params.json").read_text())["rope_theta"] == 10_000.0


def test_key_heads_are_repeated_for_neighbouring_files_when_there_are_too_few(source: Source, tmp_path: Path) -> None:
    model = source(n_kv_heads=2)
    write_llama(model, None, tmp_path, model_parallel=4)
    parts = [tensors["layers.1.attention.wv.weight"] for tensors in files(tmp_path)]
    heads = model.tensor("layers.1.attention.wv.weight").view(2, 20, 80)
    assert all(torch.equal(part, heads[number // 2]) for number, part in enumerate(parts))
    assert "n_kv_heads" not in json.loads((tmp_path / "params.json").read_text())  # 4 then, as many as n_heads


def test_the_lists_hold_the_md5_of_every_file(source: Source, tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_llama(source(), tokenizer, tmp_path, model_parallel=2)
    lists = (tmp_path / "checklist.chk").read_text() + (tmp_path / "tokenizer_checklist.chk").read_text()
    listed = dict(reversed(line.split("  ")) for line in lists.splitlines())
    assert set(listed) == {"consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model"}
    assert all(hashlib.md5((tmp_path / name).read_bytes()).hexdigest() == digest for name, digest in listed.items())
    assert (tmp_path / "tokenizer.model").read_bytes() == tokenizer.content


@pytest.mark.parametrize(
    ("shape", "count", "sentence"),
    [
        ({"norm": "layer"}, 1, "norm = 'layer', which Meta's original format cannot express"),
        ({"qk_norm": True}, 1, "qk_norm = true"),
        ({"rotary": "head", "n_kv_heads": 4}, 1, "rotary = 'head'"),
        ({"head_dim": 24}, 1, "head_dim = 24, which is not dim / n_heads"),
        ({"rope_scaling": {"kind": "linear", "factor": 2.0}}, 1, "rope_scaling.kind = 'linear'"),
        ({"rope_scaling": {"kind": "llama3", "factor": 32.0}}, 1, "can only say use_scaled_rope"),
        ({}, 0, "model_parallel is 0, expected 1 or more"),
        ({}, 8, "n_heads = 4 cannot be divided among 8 files"),
        ({"ffn_dim": 99}, 2, "ffn_dim = 99 cannot be divided among 2 files"),
        ({"vocab_size": 513}, 4, "vocab_size = 513 cannot be divided among 4 files"),
        ({"dim": 120, "n_heads": 6, "n_kv_heads": 3}, 2, "n_kv_heads = 3 can neither be divided among 2 files nor"),
    ],
)
def test_what_the_original_cannot_say_is_refused_before_anything_is_written(
    source: Source, tmp_path: Path, shape: dict[str, Any], count: int, sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        write_llama(source(**shape), None, tmp_path, model_parallel=count)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_of_another_size_is_refused(source: Source, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="the tokenizer has 512 tokens and the model 1000"):
        write_llama(source(vocab_size=1000), tokenizer, tmp_path)


def ranks() -> bytes:
    """A small file of LLaMA 3's kind: all bytes, and some tokens made of two."""
    tokens = [bytes([byte]) for byte in range(256)] + [b" t", b"he", b" a", b"in", b" the"]
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


def test_a_byte_level_tokenizer_is_written_as_llama_3s_and_the_embedding_by_rows(
    source: Source, tmp_path: Path
) -> None:
    tokenizer = read_tiktoken(ranks(), "tokenizer.model")
    write_llama(source(vocab_size=tokenizer.vocab_size, n_kv_heads=4), tokenizer, tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == ranks()
    assert json.loads((tmp_path / "params.json").read_text())["rope_theta"] == 10_000.0
    read = open_llama(tmp_path, Hints()).tokenizer()
    assert read is not None
    assert read.encode("in the end") == tokenizer.encode("in the end")


def test_a_byte_level_tokenizer_that_metas_code_would_read_otherwise_is_refused(source: Source, tmp_path: Path) -> None:
    tokenizer = read_tiktoken(ranks(), "x.model")
    tokenizer.bos_id = 3
    with pytest.raises(TokenizerError, match=r"x.model: cannot be written as a file of Llama 3's tokenizer"):
        write_llama(source(vocab_size=tokenizer.vocab_size), tokenizer, tmp_path)
    assert not list(tmp_path.iterdir())


CASES: dict[int, list[dict[str, Any]]] = {
    1: [
        {"n_kv_heads": 4},
        {"n_kv_heads": 2, "rope_theta": 5e5, "norm_eps": 1e-5},
        {"n_kv_heads": 1, "tie_embeddings": True},
        {"n_kv_heads": 2, "rope_scaling": SCALED_ROPE.model_dump()},
    ],
    2: [
        {"n_kv_heads": 4},
        {"n_kv_heads": 2, "ffn_dim": 240},
        {"n_kv_heads": 1},
        {"n_kv_heads": 2, "tie_embeddings": True},
        {"n_kv_heads": 2, "rope_scaling": SCALED_ROPE.model_dump()},
    ],
}  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("processes", [1, 2])
def test_metas_own_model_gives_our_logits(
    source: Source, decoder: Callable[[Checkpoint], Llama], tmp_path: Path, processes: int
) -> None:
    tokens = torch.randint(0, 512, (2, 48), generator=torch.Generator().manual_seed(0))
    torch.save(tokens, tmp_path / "tokens.pt")
    arguments, ours = [], []
    for number, shape in enumerate(CASES[processes]):
        model = source(**shape)
        (tmp_path / str(number)).mkdir()
        write_llama(model, None, tmp_path / str(number), model_parallel=processes)
        arguments += [str(tmp_path / str(number)), str(tmp_path / f"{number}.pt")]
        with torch.no_grad():
            ours.append(decoder(model)(tokens))
    script = Path(__file__).with_name("meta_model.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run([*launch, script, tmp_path / "tokens.pt", *arguments], capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for number, logits in enumerate(ours):
        theirs = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        assert (theirs - logits).abs().max() <= 5e-5, CASES[processes][number]
        assert (theirs - theirs.mean()).abs().max() > 1, "logits too alike to tell models apart"

"""EasyLM's files, made here by msgpack and numpy alone, read back; damaged ones; one as large as LLaMA 65B's."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from growth import bytes_touched
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.containers.flax_pack import array_parts, parts_bytes, stream_parts
from puna.formats.easylm.read import EasyLMCheckpoint, is_easylm, open_easylm
from puna.formats.table import weights
from puna.tokenizer.tokenizer import Tokenizer

HEADS = Hints(n_heads=4)
Arrays = dict[str, Tensor]


def arrays_of(source: Checkpoint) -> Arrays:
    """The arrays of EasyLM's parameter tree, in the order of its converter from Hugging Face."""
    config = source.config

    def kernel(name: str, heads: int = 0) -> Tensor:
        w = source.tensor(f"{name}.weight")
        if heads:
            w = w.reshape(heads, 2, -1, w.shape[1]).permute(0, 2, 1, 3).reshape(w.shape)
        return w.T.contiguous() if w.ndim == 2 else w

    arrays = {
        "transformer/wte/embedding": source.tensor("tok_embeddings.weight"),
        "transformer/ln_f/kernel": kernel("norm"),
    }
    for i in range(config.n_layers):
        there, here = f"transformer/h/{i}", f"layers.{i}"
        arrays[f"{there}/attention/wq/kernel"] = kernel(f"{here}.attention.wq", config.n_heads)
        arrays[f"{there}/attention/wk/kernel"] = kernel(f"{here}.attention.wk", config.n_kv_heads)
        for name in ("attention/wv", "attention/wo", "feed_forward/w1", "feed_forward/w2", "feed_forward/w3"):
            arrays[f"{there}/{name}/kernel"] = kernel(f"{here}.{name.replace('/', '.')}")
        for name in ("attention_norm", "ffn_norm"):
            arrays[f"{there}/{name}/kernel"] = kernel(f"{here}.{name}")
    if not config.tie_embeddings:
        arrays["lm_head/kernel"] = kernel("output")
    return arrays


def pack(value: Any) -> bytes:
    content = msgpack.packb(value)
    assert content is not None
    return content


def leaf(x: Tensor) -> msgpack.ExtType:
    """An array as flax packs it."""
    content = x.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return msgpack.ExtType(1, pack((tuple(x.shape), str(x.dtype).removeprefix("torch."), content)))


def cut(x: Tensor, step: int = 1000) -> dict[str, Any]:
    """An array cut as flax cuts large ones."""
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(i): size for i, size in enumerate(x.shape)},
        "chunks": {str(i): leaf(piece) for i, piece in enumerate(x.flatten().split(step))},
    }


def stream(arrays: Arrays, prefix: tuple[str, ...] = (), as_leaf: Callable[[Tensor], Any] = leaf) -> bytes:
    return b"".join(pack(((*prefix, *name.split("/")), pack(as_leaf(x)))) for name, x in arrays.items())


def tree(arrays: Arrays) -> bytes:
    root: dict[str, Any] = {}
    for name, x in arrays.items():
        *path, last = name.split("/")
        place = root
        for part in path:
            place = place.setdefault(part, {})
        place[last] = leaf(x)
    return pack(root)


def train_state(arrays: Arrays) -> bytes:
    step = pack((("step",), pack(leaf(torch.tensor(7, dtype=torch.int32)))))
    unread = pack((("opt_state", "1", "0", "mu", "transformer"), b"\xc1 is never looked at"))
    return step + stream(arrays, ("params", "params")) + unread


FORMS: dict[str, Callable[[Arrays], bytes]] = {
    "stream": stream,
    "train state": train_state,
    "flax map": tree,
    "cut": lambda arrays: stream(arrays, as_leaf=cut),
    "sorted": lambda arrays: stream(dict(sorted(arrays.items()))),
}


@pytest.fixture
def written(source: Callable[..., Checkpoint], tmp_path: Path) -> Callable[..., tuple[Checkpoint, Path]]:
    """Makes a source and a file of it: `written("stream", n_kv_heads=1)`."""

    def write(form: str = "stream", change: Callable[[Arrays], object] = lambda arrays: None, **shape: Any) -> Any:
        original = source(**shape)
        arrays = arrays_of(original)
        change(arrays)
        path = tmp_path / "weights"
        path.write_bytes(FORMS[form](arrays))
        return original, path

    return write


def same_bits(a: Checkpoint, b: Checkpoint) -> None:
    assert list(a.weights) == list(b.weights)
    for name in a.weights:
        x, y = a.tensor(name), b.tensor(name)
        assert (x.dtype, x.shape) == (y.dtype, y.shape), name
        assert torch.equal(x.contiguous().view(torch.uint8), y.contiguous().view(torch.uint8)), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_every_form_gives_the_weights_bit_for_bit(
    form: str, kv_heads: int, dtype: torch.dtype, written: Callable[..., tuple[Checkpoint, Path]]
) -> None:
    original, path = written(form, n_kv_heads=kv_heads, dtype=dtype)
    assert is_easylm(path)
    found = open_easylm(path, Hints(n_heads=4, context=64))
    found.check_complete()
    config = original.config
    assert found.config.model_copy(update={"init_std": config.init_std}) == config
    same_bits(original, found)
    assert any("training state" in note for note in found.notes) == (form == "train state")
    assert all(stored.dtype == str(dtype).removeprefix("torch.") for stored in found.stored.values())
    assert sum(stored.n_bytes for stored in found.stored.values()) == sum(
        original.tensor(name).nbytes for name in original.weights
    )


def test_dtypes_are_kept_each_for_itself(written: Callable[..., tuple[Checkpoint, Path]]) -> None:
    def widen(arrays: Arrays) -> None:
        arrays["transformer/ln_f/kernel"] = arrays["transformer/ln_f/kernel"].float()

    _, path = written(change=widen, dtype=torch.bfloat16)
    found = open_easylm(path, HEADS)
    assert found.tensor("norm.weight").dtype == torch.float32
    assert found.tensor("output.weight").dtype == torch.bfloat16


def easylm_logits(arrays: Arrays, tokens: np.ndarray, heads: int, kv_heads: int, eps: float) -> np.ndarray:
    """EasyLM's arithmetic in numpy, over its own arrays: neighbours turn, kernels are [in, out]."""
    x = {name: array.double().numpy() for name, array in arrays.items()}

    def norm(h: np.ndarray, name: str) -> np.ndarray:
        return h / np.sqrt((h**2).mean(-1, keepdims=True) + eps) * x[f"{name}/kernel"]

    def turn(h: np.ndarray) -> np.ndarray:
        width = h.shape[-1]
        angles = np.outer(np.arange(h.shape[1]), 10000.0 ** (-np.arange(0, width, 2) / width))
        turned = (h[..., ::2] + 1j * h[..., 1::2]) * np.exp(1j * angles)[:, None]
        return np.stack([turned.real, turned.imag], -1).reshape(h.shape)

    h = x["transformer/wte/embedding"][tokens]
    length = tokens.shape[1]
    mask = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(sum(name.endswith("/wq/kernel") for name in x)):
        at = f"transformer/h/{layer}"
        seen = norm(h, f"{at}/attention_norm")
        q, k, v = (seen @ x[f"{at}/attention/{name}/kernel"] for name in ("wq", "wk", "wv"))
        q = turn(q.reshape(*tokens.shape, heads, -1))
        k, v = (part.reshape(*tokens.shape, kv_heads, -1) for part in (k, v))
        k, v = (np.repeat(part, heads // kv_heads, axis=2) for part in (turn(k), v))
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]) + mask
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        h = h + np.einsum("bhqk,bkhd->bqhd", shares, v).reshape(h.shape) @ x[f"{at}/attention/wo/kernel"]
        seen = norm(h, f"{at}/ffn_norm")
        gate = seen @ x[f"{at}/feed_forward/w1/kernel"]
        up = seen @ x[f"{at}/feed_forward/w3/kernel"]
        h = h + (gate / (1 + np.exp(-gate)) * up) @ x[f"{at}/feed_forward/w2/kernel"]
    return norm(h, "transformer/ln_f") @ x["lm_head/kernel"]


@pytest.mark.parametrize(("kv_heads", "eps"), [(1, 1e-6), (2, 1e-5), (4, 1e-6)])
def test_the_model_computes_what_easylm_computes_with_the_same_file(
    kv_heads: int, eps: float, written: Callable[..., tuple[Checkpoint, Path]], decoder: Callable[[Checkpoint], Any]
) -> None:
    original, path = written(n_kv_heads=kv_heads, norm_eps=eps)
    tokens = np.random.default_rng(0).integers(0, 512, (2, 40))
    with torch.no_grad():
        ours = decoder(open_easylm(path, Hints(n_heads=4, norm_eps=eps)))(torch.tensor(tokens)).numpy()
    theirs = easylm_logits(arrays_of(original), tokens, 4, kv_heads, eps)
    assert theirs.std() > 0.3
    assert np.abs(ours - theirs).max() <= 5e-5


def test_a_directory_gives_its_checkpoint_and_its_tokenizer(
    written: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer
) -> None:
    original, path = written()
    assert open_easylm(path, HEADS).tokenizer() is None
    (path.parent / tokenizer.file).write_bytes(tokenizer.content)
    (path.parent / "metadata.pkl").write_bytes(b"\x80\x04}.")
    assert is_easylm(path.parent)
    for place in (path, path.parent):
        found = open_easylm(place, HEADS)
        same_bits(original, found)
        assert (found.path, found.tokenizer().sha256) == (place, tokenizer.sha256)
    (path.parent / "other").mkdir()
    elsewhere = path.rename(path.parent / "other" / "weights")
    assert open_easylm(elsewhere, Hints(n_heads=4, tokenizer=path.parent)).tokenizer().sha256 == tokenizer.sha256


def test_a_directory_with_several_or_none_is_refused(written: Callable[..., tuple[Checkpoint, Path]]) -> None:
    _, path = written()
    (path.parent / "weights_1000").write_bytes(path.read_bytes())
    with pytest.raises(FormatError, match=r"holds 2 EasyLM checkpoints \(weights, weights_1000\), expected one"):
        open_easylm(path.parent, HEADS)
    (path.parent / "empty").mkdir()
    assert not is_easylm(path.parent / "empty")
    with pytest.raises(FormatError, match="holds no EasyLM checkpoint"):
        open_easylm(path.parent / "empty", HEADS)


def test_what_is_missing_or_too_many_is_shown_and_refused_by_the_check(
    written: Callable[..., tuple[Checkpoint, Path]],
) -> None:
    def change(arrays: Arrays) -> None:
        del arrays["transformer/h/0/feed_forward/w1/kernel"], arrays["lm_head/kernel"]
        arrays["transformer/h/1/attention/bias"] = torch.ones(3)

    _, path = written(change=change)
    found = open_easylm(path, HEADS)
    assert found.missing == ["layers.0.feed_forward.w1.weight", "output.weight"]
    assert found.extra == ["transformer/h/1/attention/bias"]
    with pytest.raises(FormatError, match="lacks 2 tensors"):
        found.check_complete()
    with pytest.raises(FormatError, match=r"lacks output\.weight"):
        found.tensor("output.weight")


def test_a_file_without_an_output_layer_is_tied_only_where_it_is_said(
    written: Callable[..., tuple[Checkpoint, Path]],
) -> None:
    original, path = written(tie_embeddings=True)
    assert open_easylm(path, HEADS).missing == ["output.weight"]
    (path.parent / "llama_config.json").write_text(json.dumps({"tied_embeddings": True}))
    found = open_easylm(path, HEADS)
    found.check_complete()
    same_bits(original, found)


def test_an_output_layer_that_is_said_to_be_the_embedding_must_be(
    written: Callable[..., tuple[Checkpoint, Path]],
) -> None:
    def repeat(arrays: Arrays) -> None:
        arrays["lm_head/kernel"] = arrays["transformer/wte/embedding"].T

    original, path = written(change=repeat, tie_embeddings=True, dtype=torch.bfloat16)
    (path.parent / "llama_config.json").write_text(json.dumps({"tied_embeddings": True}))
    found = open_easylm(path, HEADS)
    found.check_complete()
    same_bits(original, found)

    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = open_easylm(path, HEADS)
    with pytest.raises(FormatError, match="lm_head/kernel is not the embedding"):
        found.tensor("tok_embeddings.weight")


@pytest.mark.parametrize(("head", "says"), [
    (torch.ones(80, 512).double(), "is float64"), (torch.ones(512, 80), r"is \[512, 80\], but"),
    (torch.ones(80, 512, 1), r"is \[80, 512, 1\], but"), (torch.ones(80, 512).half(), "is not the embedding"),
])  # fmt: skip
def test_an_output_layer_that_cannot_be_the_embedding_is_refused(
    head: Tensor, says: str, written: Callable[..., tuple[Checkpoint, Path]]
) -> None:
    _, path = written(change=replaced("lm_head/kernel", head), tie_embeddings=True)
    (path.parent / "llama_config.json").write_text(json.dumps({"tied_embeddings": True}))
    with pytest.raises(FormatError, match=f"lm_head/kernel {says}"):
        open_easylm(path, HEADS).tensor("tok_embeddings.weight")


def replaced(name: str, x: Tensor) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.__setitem__(name, x)


@pytest.mark.parametrize(("change", "says"), [
    (replaced("transformer/h/1/attention/wo/kernel", torch.ones((80, 81))), r"wo/kernel is \[80, 81\], but"),
    (replaced("transformer/h/1/attention/wk/kernel", torch.ones((40, 80))), r"wk/kernel is \[40, 80\], but"),
    (replaced("transformer/ln_f/kernel", torch.ones((1, 80))), r"ln_f/kernel is \[1, 80\], but"),
    (replaced("lm_head/kernel", torch.ones((512, 80))), r"lm_head/kernel is \[512, 80\], but"),
    (replaced("transformer/wte/embedding", torch.ones(80)), "wte/embedding is not a matrix"),
    (replaced("transformer/h/0/attention/wq/kernel", torch.ones((80, 81))), "not whole heads"),
    (replaced("transformer/ln_f/kernel", torch.ones(80).double()), "is float64, expected float32"),
    (replaced("transformer/h/123456789/x", torch.ones(1)), "numbers 123456790 layers, but holds 22 arrays"),
    (lambda arrays: arrays.pop("transformer/wte/embedding"), "it lacks transformer/wte/embedding"),
    (lambda arrays: [arrays.pop(name) for name in list(arrays) if "/wq/" in name], "it lacks attention/wq/kernel"),
])  # fmt: skip
def test_what_is_not_a_decoder_of_its_sizes_is_refused(
    change: Callable[[Arrays], object], says: str, written: Callable[..., tuple[Checkpoint, Path]]
) -> None:
    _, path = written(change=change)
    with pytest.raises(FormatError, match=says):
        open_easylm(path, HEADS)


def test_a_leaf_that_is_not_an_array_is_refused(written: Callable[..., tuple[Checkpoint, Path]]) -> None:
    _, path = written(change=lambda arrays: arrays.pop("transformer/ln_f/kernel"))
    with path.open("ab") as file:
        file.write(pack((("transformer", "ln_f", "kernel"), pack(3))))
    with pytest.raises(FormatError, match="ln_f/kernel is not an array"):
        open_easylm(path, HEADS)


def test_weights_within_and_beside_a_training_state_are_refused(
    written: Callable[..., tuple[Checkpoint, Path]],
) -> None:
    original, path = written("train state")
    path.write_bytes(path.read_bytes() + stream(arrays_of(original)))
    with pytest.raises(FormatError, match="holds two arrays of the same name"):
        open_easylm(path, HEADS)


def test_two_ways_to_write_one_name_are_refused(written: Callable[..., tuple[Checkpoint, Path]]) -> None:
    _, path = written()
    with path.open("ab") as file:
        file.write(pack((("transformer/ln_f", "kernel"), pack(leaf(torch.ones(80))))))
    with pytest.raises(FormatError, match="two arrays of the same name"):
        open_easylm(path, HEADS)


@pytest.mark.parametrize("content", [
    b"", b"\x92", b"\x92\x91", b"\x80\x04}.", b"PK\x03\x04", b"GGUF\x03\0\0\0", b"\x92\x91\xa1a\xc4\x00",
    b"\x81\xa1a\xc0", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", b"\x92\xa6params\xc0",
])  # fmt: skip
def test_other_files_are_not_taken_for_easylms(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert not is_easylm(tmp_path / "file")
    assert not is_easylm(tmp_path)
    assert not is_easylm(tmp_path / "nothing")
    with pytest.raises(FormatError):
        open_easylm(tmp_path / "file", HEADS)


def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        open_easylm(tmp_path / "nothing", HEADS)
    os.mkfifo(tmp_path / "pipe")
    assert not is_easylm(tmp_path / "pipe")
    assert not is_easylm(tmp_path)


def test_a_file_that_was_shortened_after_it_was_opened_is_refused(
    written: Callable[..., tuple[Checkpoint, Path]],
) -> None:
    _, path = written()
    found = open_easylm(path, HEADS)
    os.truncate(path, 1000)
    with pytest.raises(FormatError, match="has become shorter since it was opened"):
        found.tensor("output.weight")
    path.unlink()
    with pytest.raises(FormatError, match="cannot be read"):
        found.tensor("output.weight")


def read_all(path: Path) -> EasyLMCheckpoint:
    found = open_easylm(path, HEADS)
    for name in found.stored:
        found.tensor(name)
    return found


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_file_is_refused_or_read_to_its_end(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, source: Callable[..., Checkpoint]
) -> None:
    form = data.draw(st.sampled_from(list(FORMS)))
    content = bytearray(FORMS[form](arrays_of(source(dim=8, ffn_dim=4, vocab_size=260, n_layers=1))))
    # Headers are where damage is told from weights: aim there as often as anywhere.
    names = [i for i in range(len(content)) if content.startswith(b"kernel", i)]
    near = st.sampled_from(names).flatmap(lambda i: st.integers(max(0, i - 40), min(i + 60, len(content) - 1)))
    if data.draw(st.booleans()):
        del content[data.draw(near | st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(near)] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "damaged-easylm"
    path.write_bytes(content)
    is_easylm(path)
    with contextlib.suppress(FormatError):
        read_all(path)


def test_every_truncation_between_two_messages_is_seen(written: Callable[..., tuple[Checkpoint, Path]]) -> None:
    original, path = written()
    content, ends = path.read_bytes(), []
    unpacker = msgpack.Unpacker()
    unpacker.feed(content)
    for _ in unpacker:
        ends.append(unpacker.tell())
    for end in ends[8:-1]:
        path.write_bytes(content[:end])
        with pytest.raises(FormatError, match="lacks"):
            open_easylm(path, HEADS).check_complete()
    assert len(ends) == len(original.weights)


def test_a_file_as_large_as_llama_65b_opens_within_a_second(tmp_path: Path) -> None:
    config = ModelConfig(dim=8192, n_layers=80, n_heads=64, n_kv_heads=64, ffn_dim=22016)
    path = tmp_path / "streaming_params"
    with path.open("wb") as file:
        for weight in weights(config):
            turned = weight.is_matrix and not weight.easylm.endswith("embedding")
            parts = array_parts(weight.shape[::-1] if turned else weight.shape, "bfloat16")
            for part in stream_parts(tuple(weight.easylm.split("/")), parts, "bfloat16"):
                if isinstance(part, bytes):
                    file.write(part)
                else:
                    file.seek(parts_bytes([part], "bfloat16"), os.SEEK_CUR)
        file.truncate(file.tell())
    assert path.stat().st_size > 130e9
    opened = []
    assert bytes_touched(lambda: opened.append(open_easylm(path, Hints()))) < 2**27
    found = opened[0]
    found.check_complete()
    assert found.config.norm_eps == 1e-5
    assert found.tensor("layers.79.attention.wq.weight").shape == (8192, 8192)

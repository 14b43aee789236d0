"""open_lm's files against its arithmetic, written out a second time over its own joined tensors."""

import json
import math
import os
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from growth import calls
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.openlm.read import PickledTensors, is_openlm, open_openlm
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer

SIZES = {"hidden_dim": 80, "n_layers": 2, "n_heads": 4, "seq_len": 64, "vocab_size": 300}
PLAIN = {"post_embed_norm": False, "weight_tying": False}
SETTINGS = {"model_norm": "gain_only_layer_norm", "positional_embedding_type": "rotary", "qk_norm": False}
NEOX = "gain_only_layer_norm"
KINDS: dict[str, dict[str, Any]] = {
    "LayerNorm, turned by the head's number": {"positional_embedding_type": "head_rotary"},
    "the same with norms of queries and keys": {"positional_embedding_type": "head_rotary", "qk_norm": True},
    "the first models": {"model_norm": "default_layer_norm", "positional_embedding_type": "head_rotary"},
    "LayerNorm with biases, of queries and keys too": {"model_norm": "lp_layer_norm", "qk_norm": True},
    "DCLM's": {"model_norm": "gain_only_lp_layer_norm", "qk_norm": True, "ffn_type": "swiglu_torch"},
    "RMSNorm, pairs of neighbours": {"model_norm": "rms_norm", "positional_embedding_type": "llama_rotary"},
    "the same, normalised": {"model_norm": "rms_norm", "positional_embedding_type": "llama_rotary", "qk_norm": True},
    "nothing turns": {"model_norm": "rms_norm", "positional_embedding_type": "none"},
    "heads narrower than the stream": {"hidden_dim": 84, "n_heads": 5},
    "custom attention that is softmax": {
        "attn_name": "custom_attn", "attn_activation": "softmax", "attn_seq_scalar": "max", "attn_seq_scalar_alpha": 0
    },
}  # fmt: skip


def random_state(model: dict[str, Any], dtype: torch.dtype = torch.float32) -> "OrderedDict[str, Tensor]":
    """The tensors of one of open_lm's models, by its names and in its layout."""
    d, v, f = model["hidden_dim"], model["vocab_size"], 256
    width = d // model["n_heads"] * model["n_heads"]
    block = {
        "attention.in_proj.weight": (3 * width, d),
        "attention.out_proj.weight": (d, width),
        "attention.pos_embed.inv_freq": (width // model["n_heads"] // 2,),
        **({"attention.q_norm.weight": (width,), "attention.k_norm.weight": (width,)} if model["qk_norm"] else {}),
        "feed_forward.w12.weight": (2 * f, d),
        "feed_forward.w3.weight": (d, f),
        "attention_norm.weight": (d,),
        "ffn_norm.weight": (d,),
    }
    shapes = {"tok_embeddings.weight": (v, d)}
    for layer in range(model["n_layers"]):
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in block.items()}
    shapes |= {"norm.weight": (d,), "output.weight": (v, d)}
    if model["model_norm"] in ("default_layer_norm", "lp_layer_norm"):
        shapes |= {name.replace("weight", "bias"): shape for name, shape in shapes.items() if "norm." in name}
    generator = torch.Generator().manual_seed(0)
    state = OrderedDict(
        (name, (torch.randn(shape, generator=generator) * 0.12 + ("norm.weight" in name)).to(dtype))
        for name, shape in shapes.items()
    )
    pairs = torch.arange(0, d // model["n_heads"], 2) / (d // model["n_heads"])
    state |= {name: (1e4**-pairs).to(dtype) for name in shapes if name.endswith("inv_freq")}
    if model["weight_tying"]:
        state["output.weight"] = state["tok_embeddings.weight"]
    return state


def logits_of_openlm(state: dict[str, Tensor], model: dict[str, Any], tokens_T: Tensor) -> Tensor:
    """What open_lm computes, in float64 and with complex numbers: (T, V)."""
    w = {name: tensor.double() for name, tensor in state.items()}
    n, h = model["n_heads"], model["hidden_dim"] // model["n_heads"]
    kind = model["positional_embedding_type"]

    def norm(x: Tensor, of: dict[str, Tensor], name: str) -> Tensor:
        if model["model_norm"] != "rms_norm":
            x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * of[f"{name}.weight"] + of.get(f"{name}.bias", 0)

    def turn(x_TNH: Tensor) -> Tensor:
        if kind == "none":
            return x_TNH
        steps = torch.arange(x_TNH.shape[1 if kind == "head_rotary" else 0]).double()
        angles = torch.outer(steps, 10000.0 ** -(torch.arange(0, h, 2).double() / h))
        spins = torch.exp(1j * angles)
        spins = spins[None] if kind == "head_rotary" else spins[:, None]
        if kind == "llama_rotary":
            return torch.view_as_real(torch.view_as_complex(x_TNH.reshape(*x_TNH.shape[:2], -1, 2)) * spins).flatten(2)
        pairs = torch.complex(x_TNH[..., : h // 2], x_TNH[..., h // 2 :]) * spins
        return torch.cat((pairs.real, pairs.imag), -1)

    x_TD = w["tok_embeddings.weight"][tokens_T]
    ahead = torch.ones(len(tokens_T), len(tokens_T)).triu(1).bool()
    for layer in range(model["n_layers"]):
        of = {name.removeprefix(f"layers.{layer}."): t for name, t in w.items() if name.startswith(f"layers.{layer}.")}
        joined = norm(x_TD, of, "attention_norm") @ of["attention.in_proj.weight"].T
        q, k, v = joined.chunk(3, -1)
        if model["qk_norm"]:
            q, k = norm(q, of, "attention.q_norm"), norm(k, of, "attention.k_norm")
        q, k, v = (part.unflatten(-1, (n, h)) for part in (q, k, v))
        scores = torch.einsum("qnh,knh->nqk", turn(q), turn(k)) / math.sqrt(h)
        chosen = torch.einsum("nqk,knh->qnh", scores.masked_fill(ahead, -torch.inf).softmax(-1), v)
        x_TD = x_TD + chosen.flatten(1) @ of["attention.out_proj.weight"].T
        gate, up = (norm(x_TD, of, "ffn_norm") @ of["feed_forward.w12.weight"].T).chunk(2, -1)
        x_TD = x_TD + (gate / (1 + torch.exp(-gate)) * up) @ of["feed_forward.w3.weight"].T
    return norm(x_TD, w, "norm") @ w["output.weight"].T


def training(directory: Path, state: dict[str, Tensor], model: dict[str, Any], **more: Any) -> Path:
    """A directory as a training of open_lm leaves it; returns the checkpoint."""
    sizes = {key: model[key] for key in SIZES | PLAIN}
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "tiny.json").write_text(json.dumps(sizes))
    arguments = {"model": "tiny", "lr": 0.001, "train_data": ["a: b"], "wandb": None} | model
    lines = [f"{key}: {value}" for key, value in sorted(arguments.items()) if key not in sizes]
    (directory / "params.txt").write_text("\n".join(lines) + "\n")
    path = directory / "checkpoints" / "epoch_3.pt"
    torch.save({"epoch": 3, "name": "tiny", "state_dict": state, "evaluation_metrics": []} | more, path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a training with these settings; returns its directory."""

    def make(dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
        model = SIZES | PLAIN | SETTINGS | changes
        training(tmp_path / "run", random_state(model, dtype), model)
        return tmp_path / "run"

    return make


def test_it_was_read_from_one_checkpoint_of_the_training(run: Callable[..., Path]) -> None:
    assert [file.name for file in open_openlm(run(), Hints()).files] == ["epoch_3.pt"]


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_logits_equal_open_lms(changes: dict[str, Any], tmp_path: Path, decoder: Callable[[Checkpoint], Llama]) -> None:
    model = SIZES | PLAIN | SETTINGS | changes
    state = random_state(model)
    training(tmp_path / "run", state, model)
    checkpoint = open_openlm(tmp_path / "run", Hints())
    checkpoint.check_complete()
    tokens_T = torch.randint(0, model["vocab_size"], (64,), generator=torch.Generator().manual_seed(1))
    expected_TV = logits_of_openlm(state, model, tokens_T)
    with torch.no_grad():
        logits_TV = decoder(checkpoint)(tokens_T[None])[0]
    assert expected_TV.std() > 0.5
    assert (logits_TV - expected_TV).abs().max() <= 1e-5


def test_the_kind_of_rotary_embedding_changes_the_logits() -> None:
    tokens_T = torch.arange(32)
    kinds = ("rotary", "head_rotary", "llama_rotary", "none")
    state = random_state(SIZES | PLAIN | SETTINGS)
    found = [
        logits_of_openlm(state, SIZES | PLAIN | SETTINGS | {"positional_embedding_type": kind}, tokens_T)
        for kind in kinds
    ]
    apart = [[(a - b).abs().max() > 1e-3 for b in found] for a in found]
    # Turning by the head's number is turning nothing: the same angle for a query and its keys.
    same = {(0, 0), (1, 1), (2, 2), (3, 3), (1, 3), (3, 1)}
    assert {(i, j) for i in range(4) for j in range(4) if not apart[i][j]} == same


def test_what_is_found_is_said(run: Callable[..., Path]) -> None:
    checkpoint = open_openlm(run(torch.bfloat16, positional_embedding_type="head_rotary", qk_norm=True), Hints())
    config = checkpoint.config
    assert (config.dim, config.n_layers, config.n_heads, config.n_kv_heads, config.head_dim) == (80, 2, 4, 4, 20)
    assert (config.ffn_dim, config.vocab_size, config.context) == (256, 300, 64)
    assert (config.norm, config.norm_eps, config.qk_norm, config.rotary) == ("layer", 1e-5, True, "head")
    assert (checkpoint.missing, checkpoint.extra, checkpoint.notes) == ([], [], [])
    assert checkpoint.stored["layers.1.attention.wk.weight"].dtype == "bfloat16"
    assert checkpoint.stored["layers.1.attention.wk.weight"].n_bytes == 80 * 80 * 2
    assert checkpoint.tensor("layers.1.attention.wk.weight").dtype == torch.bfloat16


def test_tensors_are_views_of_the_mapped_file(run: Callable[..., Path]) -> None:
    checkpoint = open_openlm(run(), Hints())
    for name in ("wq", "wk", "wv"):  # rows of one tensor, of which none is copied
        part = checkpoint.tensor(f"layers.0.attention.{name}.weight")
        assert part.untyped_storage().nbytes() == 3 * part.nbytes


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "model.module."])
def test_what_wrappers_put_before_names_is_left_out(prefix: str, tmp_path: Path) -> None:
    model = SIZES | PLAIN | SETTINGS
    state = OrderedDict((prefix + name, tensor) for name, tensor in random_state(model).items())
    training(tmp_path / "run", state, model)
    open_openlm(tmp_path / "run", Hints()).check_complete()


def test_file_directory_and_bare_weights_are_the_same_model(run: Callable[..., Path]) -> None:
    directory = run()
    path = directory / "checkpoints" / "epoch_3.pt"
    state = torch.load(path)["state_dict"]
    torch.save(state, directory / "average.pt")
    (directory / "checkpoints" / "optimizer_3.pt").write_bytes(b"")
    found = [open_openlm(file, Hints()) for file in (path, path.parent, directory, directory / "average.pt")]
    assert len({checkpoint.config.model_dump_json() for checkpoint in found}) == 1
    for checkpoint in found:
        assert torch.equal(checkpoint.tensor("norm.weight"), state["norm.weight"])


def test_the_tokenizer_beside_the_weights_or_the_training_is_found(
    run: Callable[..., Path], tokenizer: Tokenizer
) -> None:
    directory = run()
    checkpoint = open_openlm(directory, Hints())
    assert checkpoint.tokenizer() is None
    for place in (directory, directory / "checkpoints"):
        (place / tokenizer.file).write_bytes(tokenizer.content)
        found = checkpoint.tokenizer()
        assert found is not None
        assert found.origin == str(place / tokenizer.file)


def test_metrics_with_numbers_of_numpy_are_passed_over(tmp_path: Path) -> None:
    model = SIZES | PLAIN | SETTINGS
    metrics = [{"loss": np.float64(2.5), "tokens": np.int64(7), "val": "data", "other": np.float32(1)}]
    training(tmp_path / "run", random_state(model), model, evaluation_metrics=metrics, step=torch.tensor(5))
    open_openlm(tmp_path / "run", Hints()).check_complete()


@pytest.mark.parametrize("shared", [True, False])
def test_a_tied_output_layer_is_the_embedding(shared: bool, tmp_path: Path) -> None:
    model = SIZES | PLAIN | SETTINGS | {"weight_tying": True}
    state = random_state(model)
    state["output.weight"][0] = math.nan
    if not shared:
        state["output.weight"] = state["output.weight"].clone()
    training(tmp_path / "run", state, model)
    checkpoint = open_openlm(tmp_path / "run", Hints())
    checkpoint.check_complete()
    assert checkpoint.config.tie_embeddings
    assert torch.equal(checkpoint.tensor("tok_embeddings.weight")[1:], state["output.weight"][1:])


@pytest.mark.parametrize("change", [lambda x: x + 1, lambda x: -x, lambda x: x.bfloat16()])
def test_a_tied_output_layer_of_its_own_is_refused(change: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    model = SIZES | PLAIN | SETTINGS | {"weight_tying": True}
    state = random_state(model)
    state["tok_embeddings.weight"].zero_()
    state["output.weight"] = change(state["output.weight"].clone())
    training(tmp_path / "run", state, model)
    with pytest.raises(FormatError, match=r"weight_tying is true, but tok_embeddings.weight and output.weight have"):
        open_openlm(tmp_path / "run", Hints())


FLAT = {"model_type": "openlm", "architectures": ["OpenLMForCausalLM"], "dim": 80, "n_layers": 2, "n_heads": 4,
        "seq_len": 64, "vocab_size": 300, "norm_type": NEOX, "apply_qk_norm": False, "norm_eps": 1e-5,
        "positional_embedding_type": "head_rotary", "ffn_type": "swiglu_torch", "attn_name": "auto", "moe_freq": 0,
        "post_embed_norm": False, "weight_tying": False, "tie_word_embeddings": False}  # fmt: skip
NESTED = {
    "model_type": "openlm", "architectures": ["OpenLMModel"], "params": None,
    "params_args_dict": {key: value for key, value in FLAT.items() if key != "model_type"} | {"model": "x"},
}  # fmt: skip


@pytest.mark.parametrize("config", [FLAT, NESTED], ids=["settings at the top", "arguments"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_hugging_face_forms_are_the_same_model(config: dict[str, Any], name: str, tmp_path: Path) -> None:
    model = SIZES | PLAIN | SETTINGS
    state = {f"model.{key}": tensor for key, tensor in random_state(model).items()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    assert is_openlm(tmp_path)
    checkpoint = open_openlm(tmp_path, Hints())
    checkpoint.check_complete()
    assert (checkpoint.config.rotary, checkpoint.config.norm, checkpoint.config.n_heads) == ("head", "layer", 4)
    joined = state["model.layers.1.feed_forward.w12.weight"]
    assert torch.equal(checkpoint.tensor("layers.1.feed_forward.w3.weight"), joined[256:])
    (tmp_path / name).rename(tmp_path / (one := f"one{Path(name).suffix}"))
    (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(state, one)}))
    assert torch.equal(open_openlm(tmp_path, Hints()).tensor("layers.1.feed_forward.w3.weight"), joined[256:])


def test_missing_and_extra_tensors_stay_visible(tmp_path: Path) -> None:
    model = SIZES | PLAIN | SETTINGS
    state = random_state(model)
    del state["layers.1.attention.in_proj.weight"]
    state["layers.0.adapter.weight"] = torch.ones(3)
    training(tmp_path / "run", state, model)
    checkpoint = open_openlm(tmp_path / "run", Hints())
    assert checkpoint.missing == [f"layers.1.attention.{name}.weight" for name in ("wq", "wk", "wv")]
    assert checkpoint.extra == ["layers.0.adapter.weight"]


def test_sizes_that_disagree_with_the_configuration_are_refused(run: Callable[..., Path]) -> None:
    directory = run()
    change_json(directory / "tiny.json", hidden_dim=96)
    with pytest.raises(FormatError, match=r"tok_embeddings.weight is \[300, 80\], but the configuration makes"):
        open_openlm(directory, Hints())
    change_json(directory / "tiny.json", hidden_dim=80, n_heads=13)
    with pytest.raises(FormatError, match=r"in_proj.weight is \[240, 80\], but the configuration makes it \[234, 80\]"):
        open_openlm(directory, Hints())


def test_which_of_several_checkpoints_is_meant_must_be_said(run: Callable[..., Path], tmp_path: Path) -> None:
    directory = run()
    (directory / "checkpoints" / "epoch_4.pt").write_bytes(b"")
    with pytest.raises(FormatError, match=r"has 2 checkpoints \(epoch_3.pt, epoch_4.pt\)") as caught:
        open_openlm(directory, Hints())
    assert caught.value.hint == "name one of them"
    with pytest.raises(FormatError, match=r"has neither model.safetensors nor a checkpoint"):
        open_openlm(tmp_path, Hints())


def test_a_missing_part_of_a_hugging_face_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FLAT))
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError, match=r"model-00001-of-00002.safetensors: is missing"):
        open_openlm(tmp_path, Hints())


def test_other_dtypes_and_other_contents_are_refused(run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"tok_embeddings.weight is float64, expected one of float32"):
        open_openlm(run(torch.float64), Hints())
    methods = {"items": 1, "values": 1, "get": 1}
    contents = {
        "holds no weights": {"epoch": 1},
        "'b' is not a named tensor, but list": {"state_dict": {"a": torch.ones(1), "b": [1]}},
        "are one parameter": OrderedDict({"module.a": torch.ones(1), "a": torch.ones(1)}),
        "a tensor is larger than its record": {"a": torch.ones(1).expand(10**12)},
        "wants '__builtin__.bytearray'": {"a": torch.ones(1), "b": bytearray(5)},
        "holds no weights: neither": [torch.ones(1)],
        "holds no weights: neither a": SimpleNamespace(__reduce_ex__=lambda _: (OrderedDict, (), methods)),
    }
    for sentence, content in contents.items():
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(FormatError, match=sentence):
            open_openlm(tmp_path / "other.pt", Hints())
    with pytest.raises(FormatError, match=r"nowhere.pt: cannot be read: No such file"):
        open_openlm(tmp_path / "nowhere.pt", Hints())


def test_a_compressed_archive_is_not_inflated(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"attention.in_proj.weight" + bytes(200_000_000))
    tracemalloc.start()
    try:
        assert not is_openlm(tmp_path / "bomb.pt")
        with pytest.raises(FormatError, match=r"bomb/data\.pkl is compressed or too long"):
            open_openlm(tmp_path / "bomb.pt", Hints())
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_code_in_a_pickle_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = SIZES | PLAIN | SETTINGS
    evil = SimpleNamespace(__reduce_ex__=lambda _: (os.system, ("touch executed",)))
    path = training(tmp_path / "run", random_state(model), model, evaluation_metrics=[evil])
    with pytest.raises(FormatError, match=r"posix.system.*nothing of it was run"):
        open_openlm(path, Hints())
    assert not (tmp_path / "executed").exists()


def test_recognition_knows_its_own_and_no_others(run: Callable[..., Path], tmp_path: Path) -> None:
    directory = run()
    assert all(is_openlm(path) for path in (directory, directory / "checkpoints"))
    assert is_openlm(directory / "checkpoints" / "epoch_3.pt")
    torch.save({"tok_embeddings.weight": torch.ones(2)}, tmp_path / "consolidated.00.pth")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "notes.txt").write_text("attention.in_proj.weight")
    others = (tmp_path, tmp_path / "consolidated.00.pth", tmp_path / "notes.txt", tmp_path / "nowhere", directory / "x")
    assert not any(is_openlm(path) for path in others)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose checkpoint is a few kilobytes. Tests put damaged bytes in its place."""
    model = SIZES | PLAIN | SETTINGS | {"hidden_dim": 4, "n_heads": 2, "n_layers": 1, "vocab_size": 260}
    directory = tmp_path_factory.mktemp("small") / "run"
    path = training(directory, random_state(model, torch.bfloat16), model)
    path.rename(directory / "whole")
    return directory


def opened(path: Path) -> Checkpoint | None:
    """The model with all its tensors read, or nothing after one sentence."""
    try:
        checkpoint = open_openlm(path, Hints())
        for name in checkpoint.stored:
            assert checkpoint.tensor(name).shape == checkpoint.weights[name].shape
    except FormatError as error:
        return None if error.message.count("\n") == 0 else pytest.fail(error.message)
    return checkpoint


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_checkpoints_give_one_sentence_or_the_model(small: Path, data: st.DataObject) -> None:
    whole = (small / "whole").read_bytes()
    pickled = whole.index(b"data.pkl") + 64
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        anywhere = st.integers(0, len(whole) - 1)
        for place in data.draw(st.lists(anywhere | st.integers(pickled, pickled + 900), min_size=1, max_size=3)):
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path = small / "checkpoints" / "epoch_3.pt"
    path.write_bytes(damaged)
    is_openlm(path)
    assert len(damaged) == len(whole) or opened(path) is None
    opened(path)


@settings(max_examples=60)
@given(text=st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")), data=st.data())
def test_damaged_configurations_give_one_sentence_or_the_model(small: Path, text: str, data: st.DataObject) -> None:
    path = small / "checkpoints" / "epoch_3.pt"
    path.write_bytes((small / "whole").read_bytes())
    assert opened(path) is not None
    broken = small / data.draw(st.sampled_from(["params.txt", "tiny.json"]))
    whole = broken.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    try:
        broken.write_bytes(whole[:cut] + text.encode() + whole[cut:])
        opened(path)
    finally:
        broken.write_bytes(whole)


def test_a_checkpoint_with_the_tensors_of_65b_is_read_whole(tmp_path: Path) -> None:
    block = [name for name in random_state(SIZES | PLAIN | SETTINGS | {"n_layers": 1}) if name.startswith("layers.0.")]
    names = [f"layers.{layer}.{name.removeprefix('layers.0.')}" for layer in range(80) for name in block]
    torch.save({"state_dict": {name: torch.zeros(8, 8) for name in names}}, tmp_path / "epoch_1.pt")
    assert PickledTensors(tmp_path / "epoch_1.pt").names == names
    assert calls(lambda: PickledTensors(tmp_path / "epoch_1.pt")) < 1000 * len(names)

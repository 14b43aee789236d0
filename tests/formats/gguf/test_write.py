"""Two oracles read what is written: the `gguf` package, and llama.cpp, which runs it."""

import errno
import re
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor

from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.gguf.file_types import FILE_TYPES
from puna.formats.gguf.llama_server import LlamaServer
from puna.formats.gguf.read import GGUFCheckpoint, open_gguf
from puna.formats.gguf.write import write_gguf
from puna.formats.rotary import to_neighbours
from puna.model.llama import Llama
from puna.tokenizer.agreement import battery
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train_byte_bpe import learn_byte_bpe
from puna.tokenizer.training_text import TrainingText

gguf = pytest.importorskip("gguf")

Source = Callable[..., Checkpoint]
Decoder = Callable[[Checkpoint], Llama]
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
LLAMA3 = {"kind": "llama3", "factor": 8.0, "original_context": 32}


def written(source: Checkpoint, tokenizer: Tokenizer | None, directory: Path, file_type: str = "F32") -> GGUFCheckpoint:
    source.chat_template = TEMPLATE
    write_gguf(source, tokenizer, directory, file_type=file_type, name="Puna's")
    return open_gguf(directory / f"model-{file_type}.gguf", Hints())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "shape",
    [
        {"n_kv_heads": 1}, {"n_kv_heads": 2, "head_dim": 24}, {"n_kv_heads": 4, "tie_embeddings": True},
        {"rope_scaling": LLAMA3}, {"rope_scaling": {"kind": "linear", "factor": 2.5}},
    ],
)  # fmt: skip
def test_float32_keeps_every_bit(source: Source, tmp_path: Path, shape: dict[str, Any], dtype: torch.dtype) -> None:
    ours = source(dtype, **shape)
    found = written(ours, None, tmp_path)
    found.check_complete()
    assert found.config == ours.config.model_copy(update={"init_std": found.config.init_std})
    assert found.tokenizer() is None
    for name in ours.weights:
        assert torch.equal(found.tensor(name), ours.tensor(name).float()), name


@pytest.mark.parametrize(("kind", "dtype"), [("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_sixteen_bits_round_to_nearest_and_gains_stay(
    source: Source, tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    ours = source()
    found = written(ours, None, tmp_path, kind)
    for name, weight in ours.weights.items():
        expected = ours.tensor(name).to(dtype) if weight.is_matrix else ours.tensor(name)
        assert torch.equal(found.tensor(name), expected)


def test_blocks_for_tuning_come_back_and_are_not_in_the_template_that_others_read(
    source: Source, tmp_path: Path
) -> None:
    ours, marked = source(), "{% generation %}{{ a }}{% endgeneration %}"
    ours.chat_template = marked
    write_gguf(ours, None, tmp_path, file_type="F32")
    file = tmp_path / "model-F32.gguf"
    theirs = gguf.GGUFReader(file).fields["tokenizer.chat_template"].contents()
    assert theirs == "{% if true %}{{ a }}{% endif %}"
    assert open_gguf(file, Hints()).chat_template == marked
    changed = theirs.replace("a", "b").encode()
    file.write_bytes(file.read_bytes().replace(theirs.encode(), changed))
    assert open_gguf(file, Hints()).chat_template == changed.decode(), "another program's is the one that counts"


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_the_gguf_package_reads_the_same(source: Source, tokenizer: Tokenizer, tmp_path: Path, kind: str) -> None:
    ours = source(dim=256, ffn_dim=352, vocab_size=520, rope_scaling=LLAMA3)
    found = written(ours, tokenizer, tmp_path, kind)
    reader = gguf.GGUFReader(tmp_path / f"model-{kind}.gguf")
    values = {key: field.contents() for key, field in reader.fields.items()}
    types = {key: [kind.name for kind in field.types] for key, field in reader.fields.items()}
    assert values["general.architecture"] == "llama"
    assert values["general.file_type"] == FILE_TYPES[kind].number
    assert values["general.name"] == "Puna's"
    assert values["llama.attention.head_count_kv"] == 2
    assert values["llama.vocab_size"] == 520
    assert values["llama.context_length"] == 64
    assert values["llama.rope.freq_base"] == 10_000.0
    assert values["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert values["tokenizer.chat_template"] == TEMPLATE
    assert values["tokenizer.ggml.add_bos_token"] is tokenizer.add_bos
    assert values["tokenizer.ggml.tokens"][-1] == "[PAD519]"
    assert len(values["tokenizer.ggml.tokens"]) == len(values["tokenizer.ggml.scores"]) == 520
    assert types["tokenizer.ggml.scores"] == ["ARRAY", "FLOAT32"]
    assert types["tokenizer.ggml.token_type"] == ["ARRAY", "INT32"]
    assert types["tokenizer.ggml.bos_token_id"] == types["llama.block_count"] == ["UINT32"]
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert tensors.pop("rope_freqs.weight").n_elements == 32
    for name, weight in ours.weights.items():
        theirs = tensors.pop(weight.gguf)
        dequantized = torch.from_numpy(gguf.quants.dequantize(theirs.data, theirs.tensor_type).copy())
        expected = found.tensor(name).float()
        expected = to_neighbours(expected, weight.rotary_heads) if weight.rotary_heads else expected
        assert torch.equal(dequantized.view(expected.shape), expected)
    assert not tensors


def test_the_tokenizer_comes_back(source: Source, tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = written(source(vocab_size=520), tokenizer, tmp_path).tokenizer()
    assert found is not None
    for text in battery():
        assert found.encode(text) == tokenizer.encode(text)


def test_a_tokenizer_without_merges_comes_back(source: Source, tmp_path: Path) -> None:
    tokenizer = learn_byte_bpe(TrainingText(["text"]), 258)
    ours = source(vocab_size=264)
    again = written(ours, tokenizer, tmp_path).tokenizer()
    assert again is not None
    assert again.encode("a text") == tokenizer.encode("a text")
    field = gguf.GGUFReader(tmp_path / "model-F32.gguf").fields["tokenizer.ggml.merges"]
    assert field.contents() == []


def test_what_falls_back_is_named(source: Source, tmp_path: Path) -> None:
    notes = write_gguf(source(n_layers=1), None, tmp_path, file_type="Q4_K_S")
    assert notes[0] == "token_embd.weight: F16 instead of Q4_K, its rows have 80 values"
    assert "blk.0.ffn_down.weight: Q5_0 instead of Q4_K, its rows have 96 values" in notes
    assert len(notes) == 9
    assert write_gguf(source(dim=256, ffn_dim=512), None, tmp_path, file_type="Q4_K_S") == []


def test_short_names_are_the_medium_mixes(source: Source, tmp_path: Path) -> None:
    write_gguf(source(dim=256, ffn_dim=512), None, tmp_path, file_type="Q4_K")
    assert [file.name for file in tmp_path.iterdir()] == ["model-Q4_K_M.gguf"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"norm": "layer"}, "norm = 'layer'"),
        ({"qk_norm": True}, "qk_norm = true"),
        ({"rotary": "head", "n_kv_heads": 4}, "rotary = 'head'"),
    ],
)
def test_what_the_architecture_cannot_express_is_refused(
    source: Source, tmp_path: Path, shape: dict[str, Any], said: str
) -> None:
    with pytest.raises(ExportError, match=f"{said}, which GGUF's llama architecture cannot express"):
        write_gguf(source(**shape), None, tmp_path, file_type="F32")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_form_is_refused(source: Source, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'Q9' is not a form of GGUF that Puna writes; expected one of F32, F16"):
        write_gguf(source(), None, tmp_path, file_type="Q9")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_K_M"])
@pytest.mark.parametrize("value", [1e6, -1e6, float("inf"), float("nan")])
def test_weights_that_half_precision_cannot_hold_are_refused(
    source: Source, tmp_path: Path, kind: str, value: float
) -> None:
    ours = source(dim=256, ffn_dim=512)
    ours.tensor("layers.1.attention.wo.weight")[3, 4] = value
    with pytest.raises(
        ExportError, match=rf"layers.1.attention.wo.weight holds {re.escape(f'{abs(value):.4g}')}, .* it ends at 65504"
    ):
        write_gguf(ours, None, tmp_path, file_type=kind)
    write_gguf(ours, None, tmp_path, file_type="BF16")


def test_tensors_are_asked_for_one_by_one_in_the_order_of_the_file(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, sizes = source(dim=256, ffn_dim=512), []
    read = type(ours).tensor

    def watched(self: Checkpoint, name: str) -> Tensor:
        sizes.append((tmp_path / "model-F32.gguf").stat().st_size)
        return read(self, name)

    monkeypatch.setattr(type(ours), "tensor", watched)
    write_gguf(ours, None, tmp_path, file_type="F32")
    assert len(sizes) == len(ours.weights)
    written_before = [0, *np.cumsum([stored.n_bytes for stored in ours.stored.values()])][:-1]
    # The file's buffer may hold back the last small tensor.
    assert all(size >= before - 2**14 for size, before in zip(sizes, written_before, strict=True))


def test_data_begin_at_multiples_of_the_alignment(source: Source, tmp_path: Path) -> None:
    write_gguf(source(n_layers=1), None, tmp_path, file_type="Q8_0")
    reader = gguf.GGUFReader(tmp_path / "model-Q8_0.gguf")
    assert {tensor.data_offset % 32 for tensor in reader.tensors} == {0}
    assert struct.unpack_from("<4sI", (tmp_path / "model-Q8_0.gguf").read_bytes()) == (b"GGUF", 3)


def test_a_full_disk_keeps_the_systems_reason(source: Source, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            write_gguf(source(), None, tmp_path, file_type="F32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.errno == errno.EFBIG


class LlamaCpp:
    """llama.cpp, with attention and cache in float32."""

    def __init__(self, path: Path, tokenizer: Tokenizer, vocab_size: int) -> None:
        pytest.importorskip("xllamacpp")
        self.server = LlamaServer(path)
        self.vocab_size = vocab_size
        # A token of text is forced, because the server does not list the probabilities beside parts of characters.
        self.forced = tokenizer.encode("a")[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def log_probabilities(self, tokens: list[int]) -> Tensor:
        """Of the token after each prefix of two tokens or more, (prefixes, V)."""
        rows = torch.full((len(tokens) - 1, self.vocab_size), torch.nan)
        for row, end in enumerate(range(2, len(tokens) + 1)):
            answer = self.server.ask("completion", {
                "prompt": tokens[:end], "n_predict": 1, "n_probs": self.vocab_size, "cache_prompt": False,
                "logit_bias": [[self.forced, 1000.0]],
            })  # fmt: skip
            (place,) = answer["completion_probabilities"]
            for entry in place["top_logprobs"]:
                rows[row, entry["id"]] = entry["logprob"]
        return rows

    def greedy_text(self, tokens: list[int], length: int) -> str:
        return self.server.ask("completion", {"prompt": tokens, "n_predict": length, "temperature": 0})["content"]

    def tokenize(self, text: str) -> list[int]:
        body = {"content": text, "add_special": True, "parse_special": False}
        return self.server.ask("tokenize", body)["tokens"]


TOKENS = torch.randint(3, 512, (24,), generator=torch.Generator().manual_seed(0)).tolist()


@torch.no_grad()
def ours_and_theirs(found: GGUFCheckpoint, tokenizer: Tokenizer, path: Path, decoder: Decoder) -> tuple[Tensor, Tensor]:
    """Log probabilities of our decoder from the file's weights, and llama.cpp's."""
    logits_TV = decoder(found)(torch.tensor([TOKENS]))[0, 1:]
    with LlamaCpp(path, tokenizer, found.config.vocab_size) as theirs:
        return logits_TV.log_softmax(-1), theirs.log_probabilities(TOKENS)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [
        {"n_kv_heads": 1}, {"n_kv_heads": 2}, {"n_kv_heads": 4, "tie_embeddings": True}, {"head_dim": 24},
        {"rope_scaling": LLAMA3}, {"rope_scaling": {"kind": "linear", "factor": 2.5}},
        {"norm_eps": 1e-2, "rope_theta": 500.0}, {"dim": 256, "ffn_dim": 512},
    ],
    ids=str,
)  # fmt: skip
def test_llama_cpp_computes_the_same_from_float32(
    source: Source, tokenizer: Tokenizer, decoder: Decoder, tmp_path: Path, shape: dict[str, Any], dtype: torch.dtype
) -> None:
    found = written(source(dtype, vocab_size=520, **shape), tokenizer, tmp_path)
    ours, theirs = ours_and_theirs(found, tokenizer, tmp_path / "model-F32.gguf", decoder)
    assert (ours - theirs).abs().max() <= 5e-5


@pytest.mark.oracle
@pytest.mark.parametrize("kind", [kind for kind in FILE_TYPES if kind != "F32"])
def test_llama_cpp_agrees_with_what_we_read_of_other_forms(
    source: Source, tokenizer: Tokenizer, decoder: Decoder, tmp_path: Path, kind: str
) -> None:
    """llama.cpp rounds the stream, too: to 16 bits beside such weights, to 8 bits beside quantized ones."""
    ours_in_memory = source(dim=256, ffn_dim=512, vocab_size=520)
    found = written(ours_in_memory, tokenizer, tmp_path, kind)
    ours, theirs = ours_and_theirs(found, tokenizer, tmp_path / f"model-{kind}.gguf", decoder)
    kl = (ours.exp() * (ours - theirs)).sum(-1).mean()
    assert kl < {"F16": 1e-5, "BF16": 5e-4}.get(kind, 5e-3)
    if kind in ("Q4_0", "Q4_K_S", "Q4_K_M"):
        exact = decoder(ours_in_memory)(torch.tensor([TOKENS]))[0, 1:].log_softmax(-1)
        assert kl < 0.1 * (ours.exp() * (ours - exact)).sum(-1).mean()


@pytest.mark.oracle
def test_llama_cpp_writes_the_same_text(source: Source, tokenizer: Tokenizer, decoder: Decoder, tmp_path: Path) -> None:
    ours = source(vocab_size=512, n_kv_heads=1)
    found = written(ours, tokenizer, tmp_path)
    model, tokens = decoder(found), tokenizer.encode("def ", bos=True)
    start = len(tokens)
    with torch.no_grad():
        for _ in range(24):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    with LlamaCpp(tmp_path / "model-F32.gguf", tokenizer, 512) as server:
        theirs = server.greedy_text(tokens[:start], 24)
    assert len(theirs) > 12
    assert (
        b"".join(map(tokenizer.bytes_of, tokens[start:])).decode(errors="replace").startswith(theirs.rstrip("\ufffd"))
    )


@pytest.mark.oracle
def test_llama_cpp_tokenizes_the_same(source: Source, tokenizer: Tokenizer, tmp_path: Path) -> None:
    written(source(vocab_size=520), tokenizer, tmp_path)
    with LlamaCpp(tmp_path / "model-F32.gguf", tokenizer, 520) as theirs:
        for text in battery():
            assert theirs.tokenize(text) == tokenizer.encode(text, bos=tokenizer.add_bos), repr(text)


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [{"head_dim": 24}, {"tie_embeddings": True, "n_kv_heads": 1}], ids=str)
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_transformers_reads_the_same_weights(
    source: Source, tokenizer: Tokenizer, tmp_path: Path, shape: dict[str, Any], kind: str
) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
    from transformers.utils import logging

    logging.disable_progress_bar()
    found = written(source(dim=160, vocab_size=520, **shape), tokenizer, tmp_path, kind)
    file = str(tmp_path / f"model-{kind}.gguf")
    config = transformers.LlamaConfig(**load_gguf_checkpoint(file)["config"])
    assert (config.head_dim, config.num_key_value_heads) == (found.config.head_dim, found.config.n_kv_heads)
    assert config.tie_word_embeddings == found.config.tie_embeddings
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    theirs = load_gguf_checkpoint(file, return_tensors=True, model_to_load=model)["tensors"]
    assert set(theirs) == {weight.hf for weight in found.weights.values()}
    for name, weight in found.weights.items():
        assert torch.equal(theirs[weight.hf].float(), found.tensor(name).float())

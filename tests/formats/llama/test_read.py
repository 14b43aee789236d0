import contextlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from growth import bytes_touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from puna.core.errors import FormatError, UserError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.llama.read import is_llama, open_llama, verify_checklist
from puna.formats.llama.write import write_llama
from puna.formats.rotary import to_neighbours
from puna.tokenizer.tokenizer import Tokenizer

Source = Callable[..., Checkpoint]

PARAMS = {
    "dim": 80,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "multiple_of": 216,
    "norm_eps": 1e-6,
    "vocab_size": -1,
}


def originals(model: Checkpoint) -> dict[str, Tensor]:
    """The tensors of one original file, in Meta's order of rows."""
    heads = {"wq": model.config.n_heads, "wk": model.config.n_kv_heads}
    return {
        name: to_neighbours(tensor, heads[kind]) if (kind := name.split(".")[-2]) in heads else tensor
        for name, tensor in model.tensors.items()
    }


def save(directory: Path, files: list[dict[str, Tensor]], **fields: Any) -> Path:
    """A directory made by torch.save alone."""
    directory.mkdir(exist_ok=True)
    for number, tensors in enumerate(files):
        torch.save(tensors, directory / f"consolidated.{number:02d}.pth")
    params = {key: value for key, value in (PARAMS | fields).items() if value is not None}
    (directory / "params.json").write_text(json.dumps(params))
    return directory


@pytest.fixture
def model(source: Source) -> Checkpoint:
    return source(ffn_dim=216)


@pytest.fixture
def whole(model: Checkpoint) -> dict[str, Tensor]:
    return originals(model)


def cut(whole: dict[str, Tensor], count: int, embedding_axis: int) -> list[dict[str, Tensor]]:
    """Files as the model-parallel layers of fairscale hold them."""
    axes = {
        "tok_embeddings": embedding_axis, "output": 0, "wq": 0, "wk": 0, "wv": 0, "wo": 1, "w1": 0, "w2": 1, "w3": 0,
    }  # fmt: skip
    return [
        {
            name: tensor.chunk(count, axes[kind])[number].clone() if (kind := name.split(".")[-2]) in axes else tensor
            for name, tensor in whole.items()
        }
        for number in range(count)
    ]


def check_same(read: Checkpoint, model: Checkpoint) -> None:
    read.check_complete()
    assert all(torch.equal(read.tensor(name), tensor) for name, tensor in model.tensors.items())


@pytest.mark.parametrize("axis", [0, 1], ids=["rows as LLaMA 3", "columns as LLaMA 1"])
@pytest.mark.parametrize("vocab_size", [-1, 512])
@pytest.mark.parametrize("count", [1, 2])
def test_either_cut_of_the_embedding_is_told_from_its_shape(
    whole: dict[str, Tensor], model: Checkpoint, tmp_path: Path, count: int, vocab_size: int, axis: int
) -> None:
    read = open_llama(save(tmp_path / "m", cut(whole, count, axis), vocab_size=vocab_size), Hints(context=64))
    assert read.config.model_dump(exclude={"init_std"}) == model.config.model_dump(exclude={"init_std"})
    check_same(read, model)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_vocabulary_as_large_as_the_width_is_told_apart_too(source: Source, tmp_path: Path, axis: int) -> None:
    model = source(dim=320, n_heads=4, vocab_size=320, ffn_dim=864)
    read = open_llama(save(tmp_path / "m", cut(originals(model), 2, axis), dim=320, multiple_of=864), Hints())
    check_same(read, model)


@pytest.mark.parametrize("lacking", ["output.weight", "tok_embeddings.weight"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_vocabularys_size_comes_from_either_end(
    whole: dict[str, Tensor], tmp_path: Path, lacking: str, axis: int
) -> None:
    files = [{name: tensor for name, tensor in file.items() if name != lacking} for file in cut(whole, 2, axis)]
    read = open_llama(save(tmp_path / "m", files), Hints())
    assert read.config.vocab_size == 512
    assert read.missing == [lacking]
    with pytest.raises(FormatError, match=f"lacks 1 tensor, the first is {lacking}"):
        read.check_complete()


def test_equal_embeddings_stored_twice_stay_two_tensors(whole: dict[str, Tensor], tmp_path: Path) -> None:
    copied = whole | {"output.weight": whole["tok_embeddings.weight"].clone()}
    assert not open_llama(save(tmp_path / "copied", [copied]), Hints()).config.tie_embeddings
    shared = whole | {"output.weight": whole["tok_embeddings.weight"]}
    read = open_llama(save(tmp_path / "shared", [shared]), Hints())
    assert read.config.tie_embeddings
    assert "output.weight" not in read.stored
    read.check_complete()


FREQUENCIES = 1e4 ** (-torch.arange(0, 20, 2) / 20)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_frequencies_in_any_place_are_passed_over_and_other_tensors_are_named(
    whole: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    """LLaMA 1 7B has them in each layer, the others of LLaMA 1 and 2 once."""
    places = ["rope.freqs", *(f"layers.{layer}.attention.inner_attention.rope.freqs" for layer in range(2))]
    files = cut(whole | {"lora.a": torch.ones(3)}, 2, 1)
    files[0] |= {place: FREQUENCIES.to(dtype) for place in places}
    read = open_llama(save(tmp_path / "m", files), Hints())
    assert read.extra == ["lora.a"]
    assert not read.missing


def test_frequencies_of_another_base_are_refused(whole: dict[str, Tensor], tmp_path: Path) -> None:
    """CodeLlama's base is 1e6, which its first params.json did not say."""
    other = 1e6 ** (-torch.arange(0, 20, 2) / 20)
    path = save(tmp_path / "m", [whole | {"layers.1.attention.rope.freqs": other.bfloat16()}])
    with pytest.raises(FormatError, match=r"consolidated.00.pth: layers.1.attention.rope.freqs holds other") as caught:
        open_llama(path, Hints())
    assert re.search(r"of about (9\.|1e\+06)", caught.value.message)
    assert "--rope-theta" in caught.value.hint
    assert open_llama(path, Hints(rope_theta=1e6)).config.rope_theta == 1e6


def repeated(whole: dict[str, Tensor], order: list[int]) -> list[dict[str, Tensor]]:
    """Four files, each with one whole key head of those numbered."""
    files = cut(whole, 4, 1)
    for name in [name for name in whole if ".wk." in name or ".wv." in name]:
        for file, head in zip(files, order, strict=True):
            file[name] = whole[name].view(2, 20, 80)[head].clone()
    return files


@pytest.mark.parametrize("said", [2, 4], ids=["n_kv_heads says 2", "n_kv_heads says 4"])
@pytest.mark.parametrize("hint", [None, 2])
def test_repeated_key_heads_are_counted_once(
    whole: dict[str, Tensor], model: Checkpoint, tmp_path: Path, said: int, hint: int | None
) -> None:
    files = repeated(whole, [0, 0, 1, 1])
    read = open_llama(save(tmp_path / "m", files, n_kv_heads=said), Hints(n_kv_heads=hint))
    assert read.config.n_kv_heads == 2
    assert any("counts 4 key heads, which are 2 repeated" in note for note in read.notes) == (
        said == 4 and hint is None
    )
    check_same(read, model)


def test_a_hint_keeps_repeated_heads_as_params_counts_them(whole: dict[str, Tensor], tmp_path: Path) -> None:
    read = open_llama(save(tmp_path / "m", repeated(whole, [0, 0, 1, 1]), n_kv_heads=4), Hints(n_kv_heads=4))
    assert read.tensor("layers.0.attention.wk.weight").shape == (80, 80)


def test_heads_in_another_order_are_not_a_repetition(whole: dict[str, Tensor], tmp_path: Path) -> None:
    tiled = repeated(whole, [0, 1, 0, 1])
    assert open_llama(save(tmp_path / "4", tiled, n_kv_heads=4), Hints()).config.n_kv_heads == 4
    read = open_llama(save(tmp_path / "2", tiled, n_kv_heads=2), Hints())
    with pytest.raises(FormatError, match=r"layers.0.attention.wk.weight differs between files"):
        read.tensor("layers.0.attention.wk.weight")


@pytest.mark.parametrize("size", [1.0, 0.05], ids=["gains near 1", "small gains"])
def test_norms_that_drifted_apart_are_the_first_files_with_one_note(
    whole: dict[str, Tensor], tmp_path: Path, size: float
) -> None:
    """Llama 3 70B's differ by 2e-3."""
    norms = [name for name in whole if "norm" in name]
    gains = {name: (whole[name] * size).bfloat16() for name in norms}
    files = cut(whole | gains, 2, 1)
    generator = torch.Generator().manual_seed(0)
    for file in files[1:]:
        for name in norms[:3]:
            noise = 2e-3 * size**0.5 * torch.randn(80, generator=generator).clamp(-1, 1)
            file[name] = (gains[name].float() + noise).bfloat16()
    read = open_llama(save(tmp_path / "m", files), Hints())
    before = list(read.notes)
    for _ in range(2):
        assert all(torch.equal(read.tensor(name), gains[name]) for name in norms)
    (note,) = [note for note in read.notes if note not in before]
    assert note.startswith("the norms differ between the files in 3 tensors, by 0.00")
    assert note.endswith("the first file's are taken")


@pytest.mark.parametrize(
    "other",
    [
        lambda norm: torch.randn(80, generator=torch.Generator().manual_seed(9)) * 0.1 + 1,  # of another model
        lambda norm: norm + 0.1,
        lambda norm: norm * 1.1,
        lambda norm: norm.flip(0),
        lambda norm: torch.cat((norm[:-1], torch.tensor([float("nan")]))),
        lambda norm: 1 + 0.01 * torch.randn(80, generator=torch.Generator().manual_seed(9)),
    ],
)  # fmt: skip
def test_norms_of_another_model_are_refused(whole: dict[str, Tensor], tmp_path: Path, other: Any) -> None:
    files = cut(whole, 2, 1)
    files[1]["layers.1.ffn_norm.weight"] = other(files[1]["layers.1.ffn_norm.weight"])
    read = open_llama(save(tmp_path / "m", files), Hints())
    with pytest.raises(FormatError, match=r"01.pth: layers.1.ffn_norm.weight differs from that in consolidated.00.pth"):
        read.tensor("layers.1.ffn_norm.weight")


def test_scaled_rope_is_llama_31s(whole: dict[str, Tensor], tmp_path: Path) -> None:
    read = open_llama(save(tmp_path / "m", [whole], use_scaled_rope=True, rope_theta=500000), Hints())
    assert read.config.rope_scaling is not None
    assert read.config.rope_scaling.model_dump() == {
        "kind": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 8192,
    }  # fmt: skip
    assert read.config.rope_theta == 500000
    # Hugging Face's files of Llama 3.2, whose params.json says no more than 3.1's, have another factor.
    assert [note for note in read.notes if "use_scaled_rope, which is factor 8 in" in note]


def test_hints_give_what_is_unsaid_and_are_refused_where_it_is_said(whole: dict[str, Tensor], tmp_path: Path) -> None:
    directory = save(tmp_path / "m", [whole])
    assert [note[:40] for note in open_llama(directory, Hints()).notes] == [
        "params.json does not say context; 2048 i", "params.json does not say rope_theta; 100",
    ]  # fmt: skip
    read = open_llama(directory, Hints(context=99, rope_theta=5e5, n_heads=4, n_kv_heads=2, norm_eps=1e-6))
    assert (read.config.context, read.config.rope_theta, read.notes) == (99, 5e5, [])
    with pytest.raises(FormatError, match="has norm_eps = 1e-06, but 1e-05 was given"):
        open_llama(directory, Hints(norm_eps=1e-5))
    with pytest.raises(FormatError, match="has n_kv_heads = 2, but 4 was given"):
        open_llama(directory, Hints(n_kv_heads=4))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: (d / "consolidated.00.pth").unlink(), "consolidated.00.pth is missing"),
        (lambda d: (d / "consolidated.01.pth").unlink(), "is cut for 2 files consolidated.*.pth, but has 1"),
        (lambda d: (d / "params.json").unlink(), "params.json: cannot be read: No such file"),
        (lambda d: (d / "params.json").write_text("{"), "params.json: is not JSON"),
        (lambda d: shutil.copy(d / "consolidated.00.pth", d / "consolidated.03.pth"), "consolidated.02.pth is missing"),
        (lambda d: torch.save({"a": torch.ones(2)}, d / "consolidated.01.pth"), "holds other tensors than consol"),
        (
            lambda d: shutil.copy(d / "consolidated.00.pth", d / "consolidated.1.pth"),
            "has consolidated.01.pth and consolidated.1.pth, which are one number",
        ),
    ],
)
def test_missing_and_foreign_files_are_one_sentence(
    whole: dict[str, Tensor], tmp_path: Path, change: Callable[[Path], Any], sentence: str
) -> None:
    directory = save(tmp_path / "m", cut(whole, 2, 1))
    change(directory)
    with pytest.raises(FormatError, match=sentence.replace("*", "[*]")) as error:
        open_llama(directory, Hints())
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_layers": 3}, "n_layers is 3, but consolidated.00.pth has 2"),
        ({"n_layers": 2**31 - 1}, "n_layers is 2147483647, but consolidated.00.pth has 2"),
        ({"multiple_of": 256}, r"feed_forward.w1.weight is \[216, 80\], but the configuration makes it \[256, 80\]"),
        ({"vocab_size": 640}, r"tok_embeddings.weight is \[512, 80\], but the configuration makes it \[640, 80\]"),
        ({"n_kv_heads": 4}, r"attention.wk.weight is \[40, 80\], but the configuration makes it \[80, 80\]"),
        ({"dim": 96}, "but the configuration makes it"),
        ({"n_heads": 3, "n_kv_heads": 1}, "dim = 80 is not a multiple of n_heads = 3"),
        ({"n_heads": 16}, "dim / n_heads = 5 is odd"),
    ],
)
def test_tensors_that_are_not_as_params_says_are_refused(
    whole: dict[str, Tensor], tmp_path: Path, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(FormatError, match=sentence):
        open_llama(save(tmp_path / "m", [whole], **fields), Hints())


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("norm.weight", torch.ones(80, dtype=torch.int8), "norm.weight is int8, expected float32"),
        ("norm.weight", torch.tensor(1.0), "norm.weight is \\[\\]"),
        ("output.weight", torch.tensor(1.0), "output.weight is \\[\\]"),
        ("layers.0.attention.wq.weight", torch.ones(80), "wq.weight is \\[80\\]"),
    ],
)
def test_a_tensor_of_another_kind_is_refused(
    whole: dict[str, Tensor], tmp_path: Path, name: str, tensor: Tensor, sentence: str
) -> None:
    with pytest.raises(FormatError, match=sentence):
        open_llama(save(tmp_path / "m", [whole | {name: tensor}]), Hints())


def test_files_of_several_shapes_or_dtypes_are_refused(whole: dict[str, Tensor], tmp_path: Path) -> None:
    files = cut(whole, 2, 1)
    files[1]["norm.weight"] = files[1]["norm.weight"].half()
    with pytest.raises(
        FormatError, match=r"01.pth: norm.weight is \[80\] of torch.float16, but consolidated.00.pth has"
    ):
        open_llama(save(tmp_path / "m", files), Hints())


def test_the_tokenizer_lies_within_or_beside(
    source: Source, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "7B"
    directory.mkdir()
    write_llama(source(), tokenizer, directory)
    inside = open_llama(directory, Hints()).tokenizer()
    assert inside is not None
    assert inside.sha256 == tokenizer.sha256
    (directory / "tokenizer.model").unlink()
    assert open_llama(directory, Hints()).tokenizer() is None
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    monkeypatch.chdir(directory)
    for path in (directory, Path()):
        beside = open_llama(path, Hints()).tokenizer()
        assert beside is not None
        assert beside.sha256 == tokenizer.sha256


def test_a_directory_is_recognised_by_its_weights(whole: dict[str, Tensor], tmp_path: Path) -> None:
    directory = save(tmp_path / "m", [whole])
    assert is_llama(directory)
    assert not is_llama(directory / "params.json")
    assert not is_llama(tmp_path / "none")
    (directory / "params.json").unlink()
    assert is_llama(directory)
    with pytest.raises(FormatError, match=r"params.json: cannot be read: No such file"):
        open_llama(directory, Hints())
    (directory / "consolidated.00.pth").unlink()
    assert not is_llama(directory)


class TestChecklist:
    @pytest.fixture
    def directory(self, source: Source, tokenizer: Tokenizer, tmp_path: Path) -> Path:
        write_llama(source(), tokenizer, tmp_path, model_parallel=2)
        return tmp_path

    def test_every_listed_file_is_verified(self, directory: Path) -> None:
        assert verify_checklist(directory) == [
            "consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model",
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["consolidated.01.pth", "params.json", "tokenizer.model"])
    def test_one_flipped_bit_is_found(self, directory: Path, name: str) -> None:
        content = bytearray((directory / name).read_bytes())
        content[len(content) // 2] ^= 1
        (directory / name).write_bytes(content)
        with pytest.raises(FormatError, match=f"{name}: is damaged"):
            verify_checklist(directory)

    def test_a_listed_file_that_is_missing_is_named(self, directory: Path) -> None:
        (directory / "consolidated.01.pth").unlink()
        with pytest.raises(FormatError, match=r"consolidated.01.pth: cannot be read"):
            verify_checklist(directory)

    @pytest.mark.parametrize("line", ["hello", "0" * 32, f"{'0' * 32}  ../../etc/passwd", f"{'0' * 32}  "])
    def test_a_line_that_is_none_is_refused(self, directory: Path, line: str) -> None:
        (directory / "checklist.chk").write_text(line + "\n")
        with pytest.raises(FormatError, match=r"checklist.chk: has the line"):
            verify_checklist(directory)

    def test_empty_lines_are_passed_over(self, directory: Path) -> None:
        checklist = directory / "checklist.chk"
        checklist.write_text("\n" + checklist.read_text() + "\n\n")
        assert len(verify_checklist(directory)) == 4

    def test_without_lists_nothing_is_verified(self, tmp_path: Path) -> None:
        assert verify_checklist(tmp_path) == []


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_one_sentence_or_a_model(source: Source, tmp_path: Path, data: st.DataObject) -> None:
    write_llama(source(n_layers=1), None, tmp_path, model_parallel=2)
    path = tmp_path / data.draw(st.sampled_from(["consolidated.00.pth", "consolidated.01.pth", "params.json"]))
    content = bytearray(path.read_bytes())
    # Most of a file is numbers, where a flip is a different number; the directory of the archive is at its end.
    position = len(content) - 1 - data.draw(st.integers(0, min(len(content) - 1, 4000)))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[position:]
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        read = open_llama(tmp_path, Hints())
        for name in read.stored:
            read.tensor(name)


def test_65b_in_eight_files_opens_in_a_second(tmp_path: Path) -> None:
    dim, ffn_dim, layers, vocab_size, count = 8192, 22016, 80, 32000, 8
    block = {
        "attention.wq": (dim // count, dim), "attention.wk": (dim // count, dim), "attention.wv": (dim // count, dim),
        "attention.wo": (dim, dim // count), "feed_forward.w1": (ffn_dim // count, dim),
        "feed_forward.w2": (dim, ffn_dim // count), "feed_forward.w3": (ffn_dim // count, dim),
        "attention_norm": (dim,), "ffn_norm": (dim,),
    }  # fmt: skip
    shapes = {f"layers.{layer}.{name}.weight": shape for layer in range(layers) for name, shape in block.items()}
    shapes |= {"tok_embeddings.weight": (vocab_size, dim // count), "output.weight": (vocab_size // count, dim)}
    shapes |= {"norm.weight": (dim,)}
    with FakeTensorMode():
        tensors = {name: torch.empty(shape, dtype=torch.float16) for name, shape in shapes.items()}
    with torch.serialization.skip_data(materialize_fake_tensors=True):  # 16 GB that take no room on the disk
        torch.save(tensors, tmp_path / "consolidated.00.pth")
    for number in range(1, count):
        (tmp_path / f"consolidated.{number:02d}.pth").hardlink_to(tmp_path / "consolidated.00.pth")
    (tmp_path / "params.json").write_text(
        json.dumps(
            {"dim": dim, "multiple_of": 256, "n_heads": 64, "n_layers": layers, "norm_eps": 1e-5, "vocab_size": -1}
        )
    )
    assert (tmp_path / "consolidated.00.pth").stat().st_size > 16e9
    opened = []
    touched = bytes_touched(lambda: opened.append(open_llama(tmp_path, Hints())))
    read = opened[0]
    read.check_complete()
    assert read.config.ffn_dim == ffn_dim
    assert sum(stored.n_bytes for stored in read.stored.values()) > 130e9
    assert touched < 2**28

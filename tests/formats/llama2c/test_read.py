import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from growth import bytes_touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.llama2c.read import is_llama2c, open_llama2c
from puna.formats.llama2c.write import write_llama2c
from puna.model.llama import Llama
from puna.tokenizer.llama2c import write_tokenizer_bin
from puna.tokenizer.tokenizer import Tokenizer

Source = Callable[..., Checkpoint]


def logits(path: Path, tokens: list[int]) -> np.ndarray:
    """What the decoder of a file makes of a text, (T, V) in float64: the file is read from its first byte to its last.

    Written from the format's description alone; it shares nothing with Puna.
    """
    content = path.read_bytes()
    dim, hidden, layers, heads, key_heads, vocabulary, longest = struct.unpack("<7i", content[:28])
    numbers, position = np.frombuffer(content, "<f4", offset=28), 0

    def take(*shape: int) -> np.ndarray:
        nonlocal position
        position += (size := int(np.prod(shape)))
        return numbers[position - size : position].reshape(shape).astype(np.float64)

    head = dim // heads
    embedding = take(abs(vocabulary), dim)
    gain_1 = take(layers, dim)
    q, k, v, o = (
        take(layers, n, m) for n, m in ((dim, dim), (key_heads * head, dim), (key_heads * head, dim), (dim, dim))
    )
    gain_2 = take(layers, dim)
    up_1, down, up_3 = take(layers, hidden, dim), take(layers, dim, hidden), take(layers, hidden, dim)
    gain_3 = take(dim)
    take(2, longest, head // 2)
    output = embedding if vocabulary > 0 else take(-vocabulary, dim)
    assert position == len(numbers)

    def norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return gain * x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)

    def turn(x: np.ndarray, count: int) -> np.ndarray:
        pairs = np.ascontiguousarray(x.reshape(len(tokens), count, head)).view(np.complex128)
        angles = np.outer(np.arange(len(tokens)), 10000.0 ** (-np.arange(0, head, 2) / head))
        return (pairs * np.exp(1j * angles)[:, None]).view(np.float64)

    x = embedding[tokens]
    for layer in range(layers):
        h = norm(x, gain_1[layer])
        queries, keys = turn(h @ q[layer].T, heads), turn(h @ k[layer].T, key_heads)
        values = (h @ v[layer].T).reshape(len(tokens), key_heads, head)
        gathered = np.zeros((len(tokens), heads, head))
        for t in range(len(tokens)):
            for n in range(heads):
                group = n * key_heads // heads
                scores = keys[: t + 1, group] @ queries[t, n] / np.sqrt(head)
                shares = np.exp(scores - scores.max())
                gathered[t, n] = shares / shares.sum() @ values[: t + 1, group]
        x = x + gathered.reshape(len(tokens), dim) @ o[layer].T
        h = norm(x, gain_2[layer])
        gate = h @ up_1[layer].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ up_3[layer].T)) @ down[layer].T
    return norm(x, gain_3) @ output.T


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_what_is_written_is_read_back_bit_for_bit_and_computes_the_same_by_the_formats_description(
    source: Source, decoder: Callable[[Checkpoint], Llama], tmp_path: Path, heads: int, tied: bool
) -> None:
    model = source(n_kv_heads=heads, tie_embeddings=tied, norm_eps=1e-5)
    write_llama2c(model, None, tmp_path)
    read = open_llama2c(tmp_path, Hints(n_heads=4, n_kv_heads=heads, context=64, norm_eps=1e-5, rope_theta=1e4))
    assert read.config.model_dump(exclude={"init_std"}) == model.config.model_dump(exclude={"init_std"})
    assert read.stored == model.stored
    assert read.notes == []
    read.check_complete()
    assert all(torch.equal(read.tensor(name), tensor) for name, tensor in model.tensors.items())
    tokens = torch.randint(0, 512, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = decoder(read)(tokens)[0].double().numpy()
    theirs = logits(tmp_path / "model.bin", tokens[0].tolist())
    assert np.abs(ours - theirs).max() <= 5e-5
    assert np.abs(theirs).max() > 1


@pytest.fixture
def file(source: Source, tmp_path: Path) -> Path:
    write_llama2c(source(norm_eps=1e-5), None, tmp_path)
    return tmp_path / "model.bin"


def test_a_file_and_its_directory_are_recognised_by_the_exact_length_or_by_header_and_name(file: Path) -> None:
    assert is_llama2c(file)
    assert is_llama2c(file.parent)
    other = file.with_name("model")
    other.write_bytes(file.read_bytes())
    assert is_llama2c(other)
    for content in (file.read_bytes() + b"\0", file.read_bytes()[:-1]):
        file.write_bytes(content)
        other.write_bytes(content)
        assert is_llama2c(file.parent)
        with pytest.raises(FormatError, match="but its header makes"):
            open_llama2c(file, Hints())
        assert not is_llama2c(other)
    file.write_bytes(struct.pack("<7i", 1 << 20, 1, 1, 1, 1, 300, 2))
    assert not is_llama2c(file)
    assert not is_llama2c(file.parent / "none")


def test_the_constants_of_run_c_are_noted_and_hints_replace_them(file: Path) -> None:
    read = open_llama2c(file, Hints())
    assert (read.config.norm_eps, read.config.rope_theta) == (1e-5, 10_000.0)
    assert read.notes == [
        "the file does not say norm_eps; 1e-05 is assumed, as run.c has it",
        "the file does not say rope_theta; 10000 is assumed, as run.c has it",
    ]
    read = open_llama2c(file, Hints(norm_eps=1e-6, rope_theta=5e5))
    assert (read.config.norm_eps, read.config.rope_theta, read.notes) == (1e-6, 5e5, [])


def test_a_hint_that_the_header_contradicts_is_refused(file: Path) -> None:
    with pytest.raises(FormatError, match="has n_kv_heads = 2, but 4 was given"):
        open_llama2c(file, Hints(n_kv_heads=4))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has 0 bytes, too few for the header"),
        (b"\1" * 27, "has 27 bytes, too few"),
        (struct.pack("<7i", 0, 1, 1, 1, 1, 300, 8), "its header has a size below 1"),
        (struct.pack("<7i", 64, 1, -1, 1, 1, 300, 8), "its header has a size below 1"),
        (struct.pack("<7i", 65, 1, 1, 2, 1, 300, 8), "its header has width 65 for 2 heads"),
        (struct.pack("<7i", 64, 1, 1, 4, 3, 300, 8), "4 heads and 3 key heads"),
        (struct.pack("<7i", 6, 1, 1, 2, 1, 300, 8), "its header has width 6 for 2 heads"),
        (
            struct.pack("<7i", *[2**31 - 2] * 2, 2**31 - 1, 1, 1, -(2**31), 2**31 - 1),
            "has 28 bytes, but its header makes",
        ),
        (b"24ka" + b"\0" * 252, "is version 1 or 2 of llama2.c's files, expected 0"),
    ],
)
def test_what_is_not_a_file_of_version_0_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(FormatError, match=f"x.bin: .*{sentence}") as error:
        open_llama2c(tmp_path / "x.bin", Hints())
    assert "\n" not in error.value.message


def test_a_newer_version_is_recognised_so_that_the_sentence_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(struct.pack("<I", 0x616B3432) + b"\0" * 252)
    assert is_llama2c(tmp_path / "x.bin")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"x.bin: cannot be read: No such file"):
        open_llama2c(tmp_path / "x.bin", Hints())


def test_a_model_of_fewer_than_260_tokens_is_refused_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(struct.pack("<7i", 2, 1, 1, 1, 1, 3, 2) + b"\0" * 4 * (6 + 2 * 13 + 2 + 4))
    with pytest.raises(FormatError, match=r"x.bin: vocab_size: .* found 3"):
        open_llama2c(tmp_path / "x.bin", Hints())


def test_a_65b_file_opens_in_a_second(tmp_path: Path) -> None:
    floats = 2 * 32000 * 8192 + 80 * 8192 * (2 + 4 * 8192 + 3 * 22016) + 8192 + 2048 * 128
    with (tmp_path / "x.bin").open("wb") as file:
        file.write(struct.pack("<7i", 8192, 22016, 80, 64, 64, -32000, 2048))
        file.truncate(28 + 4 * floats)
    opened = []
    assert bytes_touched(lambda: opened.append(open_llama2c(tmp_path / "x.bin", Hints()))) < 2**27
    read = opened[0]
    assert read.tensor("layers.79.feed_forward.w2.weight")[-1, -1] == 0


def test_the_tokenizer_beside_it_is_read_tokenizer_model_first(file: Path, tokenizer: Tokenizer) -> None:
    assert open_llama2c(file, Hints()).tokenizer() is None
    write_tokenizer_bin(tokenizer, file.with_name("tokenizer.bin"))
    for path in (file, file.parent):
        found = open_llama2c(path, Hints()).tokenizer()
        assert found is not None
        assert found.origin.endswith("tokenizer.bin")
        assert found.encode("  the text\n") == tokenizer.encode("  the text\n")
    file.with_name("tokenizer.model").write_bytes(tokenizer.content)
    found = open_llama2c(file, Hints()).tokenizer()
    assert found is not None
    assert found.sha256 == tokenizer.sha256


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_to_the_header_or_the_length_is_a_format_error(file: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    content = bytearray(whole)
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, 27))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    damaged = file.with_name("damaged.bin")
    damaged.write_bytes(content)
    with contextlib.suppress(FormatError):
        read = open_llama2c(damaged, Hints())
        assert len(content) == len(whole), "a truncated file was opened"
        for name in read.stored:
            read.tensor(name).sum()

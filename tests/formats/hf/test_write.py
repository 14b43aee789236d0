import json
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.containers.safetensors import INDEX, WEIGHTS
from puna.formats.hf import write as hf_write
from puna.formats.hf.read import open_hf
from puna.formats.hf.write import write_hf
from puna.infer.plain import generate_ids
from puna.model.llama import Llama
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

transformers = pytest.importorskip("transformers")

KINDS: dict[str, dict[str, Any]] = {
    "as LLaMA": {"n_kv_heads": 4},
    "grouped heads": {"rope_theta": 5e5, "norm_eps": 1e-4},
    "wide heads": {"head_dim": 24},
    "tied": {"n_kv_heads": 1, "tie_embeddings": True},
    "linear": {"rope_scaling": {"kind": "linear", "factor": 2.5}},
    "Llama 3.1": {"rope_scaling": {"kind": "llama3", "factor": 8.0, "original_context": 32}},
}
TOKENIZER_FILES = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
FILES = ["README.md", "config.json", "generation_config.json", "model.safetensors"]

STRINGS = [
    "", " ", "The people", " leading space", "   three leading spaces", "two  spaces", "trailing  ",
    "def main():\n    if x:\n        return 1\n", "\tif (a) {\n\t\tb();\n\t}", "naïve café", "日本語と中文", "한국어",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈", "1234567890", "a\u00a0b", "\n\n", "e\u0301",
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, source: Callable[..., Any]) -> Any:
    """A decoder of each kind."""
    return source(**KINDS[request.param])


@pytest.fixture(scope="module")
def written(model: Any, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It in Hugging Face's form. Read it, do not change it."""
    out = tmp_path_factory.mktemp("written")
    write_hf(model, tokenizer, out)
    return out


@pytest.fixture(scope="module")
def theirs(written: Path) -> Any:
    """It as transformers loads it."""
    return transformers.AutoModelForCausalLM.from_pretrained(written)


ONE_KIND = pytest.mark.parametrize("model", ["grouped heads"], indirect=True)


def test_transformers_loads_it_without_a_warning(written: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(written, output_loading_info=True)
    assert caught == []
    assert "[transformers]" not in capfd.readouterr().err  # its log, which is not in `warnings`
    assert isinstance(model, transformers.LlamaForCausalLM)
    assert not any(info.values()), info


def test_transformers_computes_the_same(model: Any, theirs: Any, decoder: Callable[[Checkpoint], Llama]) -> None:
    tokens_BT = torch.randint(0, 512, (2, 64), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert (decoder(model)(tokens_BT) - theirs(tokens_BT).logits).abs().max() <= 5e-5


def test_weights_are_the_models_bit_by_bit(model: Any, written: Path) -> None:
    found = load_file(written / WEIGHTS)
    assert found.keys() == {weight.hf for weight in model.weights.values()}
    assert all(torch.equal(found[weight.hf], model.tensor(name)) for name, weight in model.weights.items())


def test_transformers_reads_the_configuration_that_was_meant(model: Any, theirs: Any) -> None:
    config: ModelConfig = model.config
    assert theirs.config.head_dim == config.head_dim
    assert theirs.config.num_key_value_heads == config.n_kv_heads
    assert theirs.config.tie_word_embeddings == config.tie_embeddings
    assert theirs.config.rope_parameters["rope_theta"] == config.rope_theta
    assert theirs.config.dtype == torch.float32
    assert (theirs.config.bos_token_id, theirs.config.eos_token_id, theirs.config.pad_token_id) == (1, 2, None)
    assert (theirs.generation_config.bos_token_id, theirs.generation_config.eos_token_id) == (1, 2)


@ONE_KIND
@pytest.mark.parametrize("text", STRINGS)
def test_transformers_tokenizer_gives_equal_ids_and_the_text_back(
    written: Path, tokenizer: Tokenizer, text: str
) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(written)
    ids = theirs(text)["input_ids"]
    assert ids == tokenizer.encode(text, bos=True)
    assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids) == text


@ONE_KIND
def test_transformers_continues_a_prompt_as_puna_does(
    model: Any, theirs: Any, tokenizer: Tokenizer, decoder: Callable[[Checkpoint], Llama]
) -> None:
    prompt = tokenizer.encode("def main", bos=True)
    mine = list(
        generate_ids(decoder(model), prompt, max_tokens=20, temperature=0, top_p=1, seed=0, stop_ids=tokenizer.stops)
    )
    ids = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=20, do_sample=False,
        pad_token_id=tokenizer.eos_id,
    )[0].tolist()  # fmt: skip
    assert len(mine) > 10
    assert ids[len(prompt) : len(prompt) + len(mine)] == mine


@ONE_KIND
def test_files_are_those_of_a_published_model(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == sorted(FILES + TOKENIZER_FILES)
    card = (written / "README.md").read_text()
    assert "Every text begins with the beginning-of-sequence token" in card
    assert "AutoTokenizer" in card


def test_without_a_tokenizer_no_file_speaks_of_one(source: Callable[..., Any], tmp_path: Path) -> None:
    write_hf(source(), None, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (None, None)
    card = (tmp_path / "README.md").read_text()
    assert "tokenizer" not in card
    assert "beginning-of-sequence" not in card
    model, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert model.config.bos_token_id is None


@pytest.mark.parametrize("add_bos", [False, True])
def test_byte_level_tokenizer_is_the_same_in_transformers(
    source: Callable[..., Any], tmp_path: Path, add_bos: bool
) -> None:
    learned = train_tokenizer(
        STRINGS * 20, vocab_size=300, character_coverage=1.0, config={}, inputs={}, kind="byte-bpe",
        out=tmp_path / "learned",
    )  # fmt: skip
    names = {"bos_token": learned.piece(learned.bos_id), "eos_token": learned.piece(learned.eos_id)}
    tokenizer = ByteBPETokenizer(learned.content, config=names | {"add_bos_token": add_bos})
    out = tmp_path / "hf"
    out.mkdir()
    write_hf(source(), tokenizer, out)
    files = [name for name in TOKENIZER_FILES if name != "tokenizer.model"]
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES + files)
    assert ("beginning-of-sequence" in (out / "README.md").read_text()) == add_bos
    theirs = transformers.AutoTokenizer.from_pretrained(out)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (tokenizer.bos_id, tokenizer.eos_id)
    for text in STRINGS:
        ids = theirs(text)["input_ids"]
        assert ids == tokenizer.encode(text, bos=add_bos)
        assert theirs.decode(ids, skip_special_tokens=True) == text


def test_chat_template_is_used_by_transformers(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    template = "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    model = source()
    model.chat_template = template
    write_hf(model, tokenizer, tmp_path)
    fast = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = fast.apply_chat_template([{"role": "user", "content": "Hé!"}], tokenize=False)
    assert text == "<s>[user] Hé!\n"


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_write, "SHARD_BYTES", 100_000)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("tie", [False, True])
def test_large_models_are_written_in_several_files(source: Callable[..., Any], tmp_path: Path, tie: bool) -> None:
    write_hf(source(tie_embeddings=tie), None, tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert [path.name for path in shards] == [
        f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)
    ]
    found = {name: path.name for path in shards for name in load_file(path)}
    assert index["weight_map"] == found
    tensors = [tensor for path in shards for tensor in load_file(path).values()]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)
    assert all(path.stat().st_size < 110_000 or len(load_file(path)) == 1 for path in shards)
    _, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info


class OneByOne(Checkpoint):
    """A checkpoint that sees how many of its tensors are asked for, and how many are alive at one time."""

    format = "one by one"

    def __init__(self, source: Checkpoint) -> None:
        super().__init__(source.path, source.config, source.stored)
        self.source = source
        self.asked: list[str] = []
        self.alive = self.most = 0

    def tensor(self, name: str) -> Tensor:
        self.asked.append(name)
        self.alive += 1
        self.most = max(self.most, self.alive)
        tensor = self.source.tensor(name).clone()
        weakref.finalize(tensor, self._gone)
        return tensor

    def _gone(self) -> None:
        self.alive -= 1

    def tokenizer(self) -> Tokenizer | None:
        return None


@pytest.mark.usefixtures("small_files")
def test_every_tensor_is_read_once_and_let_go(source: Callable[..., Any], tmp_path: Path) -> None:
    watched = OneByOne(source())
    write_hf(watched, None, tmp_path)
    assert watched.asked == list(watched.weights)
    assert watched.most == 1


def test_dtypes_may_differ_from_tensor_to_tensor(source: Callable[..., Any], tmp_path: Path) -> None:
    mixed = source(dtype=torch.bfloat16)
    gains = [name for name, weight in mixed.weights.items() if not weight.is_matrix]
    mixed = type(mixed)(mixed.config, {n: t.float() if n in gains else t for n, t in mixed.tensors.items()})
    write_hf(mixed, None, tmp_path)
    opened = open_hf(tmp_path, Hints())
    for name in mixed.weights:
        assert opened.stored[name] == mixed.stored[name]
        assert torch.equal(opened.tensor(name), mixed.tensor(name))
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_transformers_loads_the_dtype_that_was_written(
    source: Callable[..., Any], tmp_path: Path, dtype: torch.dtype
) -> None:
    model = source(dtype=dtype)
    write_hf(model, None, tmp_path)
    state = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    for name, weight in model.weights.items():
        assert state[weight.hf].dtype == dtype
        assert torch.equal(state[weight.hf], model.tensor(name))


@pytest.mark.parametrize("changes", [{"norm": "layer"}, {"qk_norm": True}, {"rotary": "head", "n_kv_heads": 4}])
def test_what_llama_for_causal_lm_does_not_compute_is_refused(
    source: Callable[..., Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ExportError, match="LlamaForCausalLM"):
        write_hf(source(**changes), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    kv=st.integers(1, 3), group=st.integers(1, 3), half=st.integers(1, 6), head_dim=st.integers(0, 6),
    layers=st.integers(1, 3), tie=st.booleans(), shard=st.integers(1, 60_000),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)  # fmt: skip
def test_round_trip_is_bit_identical(
    source: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, kv: int, group: int, half: int, head_dim: int,
    layers: int, tie: bool, shard: int, dtype: torch.dtype,
) -> None:  # fmt: skip
    model = source(
        dtype=dtype, dim=2 * half * kv * group, n_heads=kv * group, n_kv_heads=kv, head_dim=2 * head_dim,
        n_layers=layers, tie_embeddings=tie, vocab_size=261, ffn_dim=7,
    )  # fmt: skip
    out = tmp_path_factory.mktemp("round")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf_write, "SHARD_BYTES", shard)
        write_hf(model, None, out)
    opened = open_hf(out, Hints())
    opened.check_complete()
    assert opened.config == model.config
    assert opened.notes == []
    for name in model.weights:
        assert opened.stored[name] == model.stored[name]
        assert torch.equal(opened.tensor(name), model.tensor(name))

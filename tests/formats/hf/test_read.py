import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from growth import bytes_touched
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.containers.safetensors import INDEX, WEIGHTS
from puna.formats.hf.read import is_hf, open_hf
from puna.formats.hf.write import write_hf
from puna.formats.table import by_name
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

transformers = pytest.importorskip("transformers")

NONE = Hints()
DECODER = "model.layers.1.self_attn.k_proj.weight"

SMALL: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 80, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip
LLAMA_3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "as LLaMA": ("Llama", {"num_key_value_heads": 4}),
    "grouped heads": ("Llama", {"rms_norm_eps": 1e-4}),
    "tied": ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "wide heads": ("Llama", {"head_dim": 26}),
    "other base": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 130_000.0}}),
    "linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}}),
    "Llama 3.1": ("Llama", {"rope_parameters": LLAMA_3}),
    "Mistral": ("Mistral", {"sliding_window": None, "head_dim": 24}),
    "Mistral with a window": ("Mistral", {"sliding_window": 64}),
}


def save(kind: str, path: Path, **changes: Any) -> Any:
    family, fields = KINDS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SMALL | fields | changes)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    model.save_pretrained(path, max_shard_size="50KB")
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model that transformers wrote, in several files. It may be changed."""
    save("grouped heads", tmp_path / "hf")
    return tmp_path / "hf"


@pytest.fixture
def single(tmp_path: Path, source: Callable[..., Any]) -> Path:
    """A model in one file. It may be changed."""
    (tmp_path / "hf").mkdir()
    write_hf(source(vocab_size=300), None, tmp_path / "hf")
    return tmp_path / "hf"


def edit_config(path: Path, **changes: Any) -> None:
    fields = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(fields | changes))


def edit_weights(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(path / WEIGHTS).items()}
    save_file(change(tensors), path / WEIGHTS)


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_transformers_compute_the_same_here(
    tmp_path: Path, decoder: Callable[[Checkpoint], Llama], kind: str
) -> None:
    theirs = save(kind, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert is_hf(tmp_path)
    opened = open_hf(tmp_path, NONE)
    opened.check_complete()
    assert opened.format == "hf"
    assert opened.tokenizer() is None
    tokens_BT = torch.randint(0, 300, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (decoder(opened)(tokens_BT) - theirs(tokens_BT).logits).abs().max()
    assert difference <= 5e-5
    if kind.startswith("Mistral with"):
        assert opened.notes == ["sliding_window = 64 is not less than the context, 64, so it changes nothing"]
    else:
        assert opened.notes == []


def test_models_of_bfloat16_are_read_bit_by_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)).to(torch.bfloat16)
    theirs.save_pretrained(tmp_path)
    opened = open_hf(tmp_path, NONE)
    state = theirs.state_dict()
    for name, weight in by_name(opened.config, "hf").items():
        assert torch.equal(opened.tensor(weight.name), state[name])
        assert opened.stored[weight.name].dtype == "bfloat16"
        assert opened.stored[weight.name].n_bytes == 2 * state[name].numel()


def test_one_file_is_opened_with_the_configuration_beside_it(single: Path) -> None:
    opened = open_hf(single / WEIGHTS, NONE)
    assert is_hf(single / WEIGHTS)
    opened.check_complete()
    assert torch.equal(opened.tensor("norm.weight"), open_hf(single, NONE).tensor("norm.weight"))


def test_it_was_read_from_its_weights_and_settings_and_not_from_what_lies_beside(single: Path) -> None:
    for name in ("pytorch_model.bin", "adapter_model.safetensors", "tokenizer.model"):
        (single / name).touch()
    files = {"config.json", "generation_config.json", WEIGHTS, "tokenizer.model"}
    for path in (single, single / WEIGHTS):
        assert {file.name for file in open_hf(path, NONE).files} == files


def test_a_suffix_may_be_written_in_capitals(single: Path) -> None:
    path = (single / WEIGHTS).rename(single / "MODEL.SAFETENSORS")
    assert is_hf(path)
    open_hf(path, NONE).check_complete()


def test_a_directory_may_be_called_as_a_file_is(single: Path) -> None:
    directory = single.rename(single.with_name("日本 model.safetensors"))
    assert is_hf(directory)
    open_hf(directory, NONE).check_complete()


def test_one_file_of_several_is_refused(saved: Path) -> None:
    with pytest.raises(FormatError, match="is one file of several") as caught:
        open_hf(sorted(saved.glob("*.safetensors"))[0], NONE)
    assert caught.value.hint == f"name their directory: {saved}"


def test_names_may_lack_their_prefix(single: Path) -> None:
    before = {name: tensor.clone() for name, tensor in read_all(single).items()}
    edit_weights(single, lambda tensors: {name.removeprefix("model."): tensors[name] for name in tensors})
    after = read_all(single)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def read_all(path: Path) -> dict[str, Tensor]:
    opened = open_hf(path, NONE)
    opened.check_complete()
    return {name: opened.tensor(name) for name in opened.weights}


def test_parameter_that_occurs_twice_is_refused(single: Path) -> None:
    edit_weights(single, lambda tensors: tensors | {"norm.weight": torch.zeros(80)})
    with pytest.raises(FormatError, match=r"has model\.norm\.weight and norm\.weight, which are the same parameter"):
        open_hf(single, NONE)


def test_rotary_frequencies_of_old_files_are_compared_and_passed_over(single: Path) -> None:
    name = "model.layers.{}.self_attn.rotary_emb.inv_freq"
    right = 1e4 ** (-torch.arange(0, 20, 2) / 20)
    edit_weights(single, lambda tensors: tensors | {name.format(0): right, name.format(1): right.half()})
    opened = open_hf(single, NONE)
    assert (opened.extra, opened.missing, opened.notes) == ([], [], [])
    for wrong in (torch.ones(10), right[:7], 5e5 ** (-torch.arange(0, 20, 2) / 20), torch.zeros(10, dtype=torch.int64)):
        edit_weights(single, lambda tensors: tensors | {name.format(1): wrong})  # noqa: B023 - called at once
        with pytest.raises(FormatError, match=r"inv_freq (holds other rotary|is \[|is I64)"):
            open_hf(single, NONE)


def test_missing_and_extra_tensors_are_named(single: Path) -> None:
    bias = "model.layers.0.self_attn.q_proj.bias"
    edit_weights(single, lambda tensors: {n: tensors[n] for n in tensors if n != DECODER} | {bias: torch.ones(80)})
    opened = open_hf(single, NONE)
    assert opened.missing == ["layers.1.attention.wk.weight"]
    assert opened.extra == [bias]
    with pytest.raises(FormatError, match=r"lacks 1 tensor, the first is layers\.1\.attention\.wk\.weight"):
        opened.check_complete()


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    save("tied", tmp_path / "tied").save_pretrained(tmp_path / "tied one file")
    return tmp_path / "tied one file"


def test_output_layer_may_be_stored_though_it_is_the_embedding(tied: Path) -> None:
    edit_weights(tied, lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    opened = open_hf(tied, NONE)
    opened.check_complete()
    assert "output.weight" not in opened.stored
    assert torch.equal(opened.tensor("tok_embeddings.weight"), load_file(tied / WEIGHTS)["lm_head.weight"])


def test_a_tied_matrix_may_have_the_output_layers_name_alone(tied: Path) -> None:
    embedding = load_file(tied / WEIGHTS)["model.embed_tokens.weight"]
    # safetensors' save_model keeps the first of two names in the alphabet; transformers reads such files.
    edit_weights(tied, lambda tensors: tensors | {"lm_head.weight": tensors.pop("model.embed_tokens.weight")})
    assert torch.equal(transformers.AutoModelForCausalLM.from_pretrained(tied).model.embed_tokens.weight, embedding)
    opened = open_hf(tied, NONE)
    opened.check_complete()
    assert "output.weight" not in opened.stored
    assert torch.equal(opened.tensor("tok_embeddings.weight"), embedding)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: torch.cat((tensor[:-1], tensor[-1:] + 1e-3)),
        lambda tensor: tensor.bfloat16(),
    ],
)
def test_other_output_layer_where_embeddings_are_tied_is_refused(tied: Path, change: Any) -> None:
    embedding = "model.embed_tokens.weight"
    edit_weights(tied, lambda tensors: tensors | {"lm_head.weight": change(tensors[embedding].clone())})
    opened = open_hf(tied, NONE)
    said = r"model.safetensors: lm_head.weight is not the embedding, but config.json has tie_word_embeddings = true"
    for _ in range(2):
        with pytest.raises(FormatError, match=said):
            opened.tensor("tok_embeddings.weight")


def test_untied_model_without_an_output_layer_is_incomplete(tied: Path) -> None:
    edit_config(tied, tie_word_embeddings=False)
    assert open_hf(tied, NONE).missing == ["output.weight"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"hidden_size": 160},
            r"model.embed_tokens.weight is \[300, 80\], but the configuration makes it \[300, 160\]",
        ),
        ({"vocab_size": 301}, r"is \[300, 80\], but the configuration makes it \[301, 80\]"),
        ({"num_key_value_heads": 4}, r"k_proj.weight is \[40, 80\], but the configuration makes it \[80, 80\]"),
        ({"head_dim": 24}, r"q_proj.weight is \[80, 80\], but the configuration makes it \[96, 80\]"),
        ({"intermediate_size": 97}, r"but the configuration makes it \[97, 80\]"),
    ],
)
def test_sizes_that_are_not_the_configurations_are_refused(single: Path, changes: dict[str, Any], said: str) -> None:
    edit_config(single, **changes)
    with pytest.raises(FormatError, match=said) as caught:
        open_hf(single, NONE)
    assert caught.value.message.startswith(str(single / WEIGHTS))


def test_layers_too_many_or_too_few_are_named(single: Path) -> None:
    edit_config(single, num_hidden_layers=1)
    assert len(open_hf(single, NONE).extra) == 9
    edit_config(single, num_hidden_layers=3)
    assert len(open_hf(single, NONE).missing) == 9


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3"), (torch.float64, "F64")],
)
def test_other_dtypes_are_refused(single: Path, dtype: torch.dtype, said: str) -> None:
    edit_weights(single, lambda tensors: tensors | {DECODER: tensors[DECODER].to(dtype)})
    with pytest.raises(FormatError, match=f"{DECODER} is {said}, expected F32, BF16 or F16"):
        open_hf(single, NONE)


def test_other_architecture_is_refused_before_its_weights_are_looked_at(single: Path) -> None:
    edit_config(single, hidden_act="gelu")
    (single / WEIGHTS).unlink()
    with pytest.raises(FormatError, match="hidden_act = 'gelu'"):
        open_hf(single, NONE)


def test_directory_without_weights_is_refused(single: Path) -> None:
    (single / WEIGHTS).unlink()
    with pytest.raises(FormatError, match=f"has neither {WEIGHTS} nor {INDEX}, nor pytorch_model.bin"):
        open_hf(single, NONE)


def test_missing_file_of_several_is_an_error(saved: Path) -> None:
    last = sorted(saved.glob("*.safetensors"))[-1]
    last.unlink()
    with pytest.raises(FormatError, match=f"{last.name}: is missing"):
        open_hf(saved, NONE)


def test_truncated_file_is_an_error(single: Path) -> None:
    content = (single / WEIGHTS).read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        (single / WEIGHTS).write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"model.safetensors: is .*truncated"):
            open_hf(single, NONE)


def test_hint_that_contradicts_is_refused(single: Path) -> None:
    with pytest.raises(FormatError, match="has n_heads = 4, but 8 was given"):
        open_hf(single, Hints(n_heads=8))


def test_what_is_not_hugging_face_is_not_recognised(single: Path, tmp_path: Path) -> None:
    assert is_hf(single)
    assert not is_hf(tmp_path)
    assert not is_hf(tmp_path / "absent")
    assert not is_hf(single / "config.json")
    assert not is_hf(single / "README.md")
    (single / "config.json").write_text('{"dim": 3}')
    assert not is_hf(single)
    assert not is_hf(single / WEIGHTS)
    (single / WEIGHTS).unlink()
    (single / "config.json").unlink()
    assert not is_hf(single)


def test_65b_opens_in_less_than_a_second(tmp_path: Path, source: Callable[..., Any]) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama", "vocab_size": 32000, "hidden_size": 8192, "intermediate_size": 22016,
                "num_hidden_layers": 80, "num_attention_heads": 64, "max_position_embeddings": 2048,
                "rms_norm_eps": 1e-5, "rope_theta": 1e4,
            }
        )
    )  # fmt: skip
    sparse_weights(tmp_path)
    found = []
    touched = bytes_touched(lambda: found.append(open_hf(tmp_path, NONE)))
    opened = found[0]
    opened.check_complete()
    assert sum(stored.n_bytes for stored in opened.stored.values()) == 2 * 65_285_660_672
    assert touched < 2**27


def sparse_weights(path: Path) -> None:
    """LLaMA 65B's weights without room on the disk: all zeros."""
    from puna.config.load import load_recipe

    header: dict[str, Any] = {}
    end = 0
    for name, weight in by_name(load_recipe("llama-65b").recipe.model, "hf").items():
        start, end = end, end + 2 * torch.Size(weight.shape).numel()
        header[name] = {"dtype": "BF16", "shape": weight.shape, "data_offsets": [start, end]}
    content = json.dumps(header).encode()
    with (path / WEIGHTS).open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + end)


@pytest.fixture
def with_tokenizer(tmp_path: Path, source: Callable[..., Any], tokenizer: Tokenizer) -> Path:
    """A model with its tokenizer. It may be changed."""
    (tmp_path / "hf").mkdir()
    write_hf(source(), tokenizer, tmp_path / "hf")
    return tmp_path / "hf"


def test_tokenizer_is_the_one_that_lies_with_the_model(with_tokenizer: Path, tokenizer: Tokenizer) -> None:
    for path in (with_tokenizer, with_tokenizer / WEIGHTS):
        opened = open_hf(path, NONE)
        found = opened.tokenizer()
        assert found is not None
        assert found.content == tokenizer.content
        assert opened.notes == []


def test_tokenizers_that_disagree_are_noted_once(
    with_tokenizer: Path, tmp_path: Path, source: Callable[..., Any], tokenizer: Tokenizer
) -> None:
    text = "nothing like the other text, but zebras and quaggas and llamas " * 40
    train_tokenizer([text], vocab_size=300, character_coverage=1.0, config={}, inputs={}, out=tmp_path / "other")
    shutil.copy(tmp_path / "other" / "tokenizer.model", with_tokenizer)
    opened = open_hf(with_tokenizer, NONE)
    assert opened.tokenizer() is not None
    assert opened.tokenizer() is not None
    (note,) = opened.notes
    assert note.startswith("tokenizer.model was taken; tokenizer.json writes ")
    assert "strings differ" in note


def test_tokenizer_json_that_cannot_be_read_is_noted(with_tokenizer: Path) -> None:
    (with_tokenizer / "tokenizer.json").write_text("{}")
    opened = open_hf(with_tokenizer, NONE)
    assert opened.tokenizer() is not None
    (note,) = opened.notes
    assert note.startswith("tokenizer.model was taken; tokenizer.json: is not a tokenizer.json, which has a model")
    assert "\n" not in note


def test_policy_of_the_first_token_is_not_a_disagreement(with_tokenizer: Path) -> None:
    # As in files whose first token only tokenizer_config.json asks for.
    fields = json.loads((with_tokenizer / "tokenizer.json").read_text())
    (with_tokenizer / "tokenizer.json").write_text(json.dumps(fields | {"post_processor": None}))
    opened = open_hf(with_tokenizer, NONE)
    assert opened.tokenizer() is not None
    assert opened.notes == []


def test_byte_level_tokenizer_is_read_with_the_tokens_that_its_configuration_names(
    tmp_path: Path, source: Callable[..., Any]
) -> None:
    # SmolLM2's: the first token is never put, and is the last one, too.
    text = "def main(argv):\n    print('naïve café')\n" * 50
    learned = train_tokenizer(
        [text], vocab_size=280, character_coverage=1.0, config={}, inputs={}, kind="byte-bpe", out=tmp_path / "learned"
    )
    end = learned.piece(learned.eos_id)
    (tmp_path / "hf").mkdir()
    write_hf(source(), learned, tmp_path / "hf")
    (tmp_path / "hf" / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": end, "eos_token": {"content": end}, "add_bos_token": False})
    )
    edit_config(tmp_path / "hf", bos_token_id=learned.eos_id, eos_token_id=learned.eos_id)
    opened = open_hf(tmp_path / "hf", NONE)
    found = opened.tokenizer()
    assert found is not None
    assert (found.kind, found.bos_id, found.eos_id, found.add_bos) == (
        "byte-bpe", learned.eos_id, learned.eos_id, False,
    )  # fmt: skip
    assert found.encode(text) == learned.encode(text)
    assert opened.notes == []


def test_other_token_ids_in_the_configuration_are_noted(with_tokenizer: Path) -> None:
    edit_config(with_tokenizer, bos_token_id=0, eos_token_id=[5, 2])
    opened = open_hf(with_tokenizer, NONE)
    assert opened.tokenizer() is not None
    assert opened.notes == ["config.json has bos_token_id = 0, but tokenizer.model has 1, which is taken"]

import json
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError, ExportError, StorageError
from puna.core.records import read_record
from puna.export import hf
from puna.export.hf import write_hf
from puna.export.names import huggingface_names
from puna.infer.generate import generate_ids
from puna.model.files import load_model, read_config, save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

FILES = [
    "README.md", "SHA256SUMS", "config.json", "equivalence.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
]  # fmt: skip

ONE_MODEL = pytest.mark.parametrize("model_dir", ["grouped heads"], indirect=True)

STRINGS = [
    "", " ", "The people", " leading space", "   three leading spaces", "two  spaces", "trailing  ",
    "def main():\n    if x:\n        return 1\n", "\tif (a) {\n\t\tb();\n\t}", "naïve café", "日本語と中文", "한국어",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈", "1234567890", "a\u00a0b", "\n\n", "e\u0301",
]  # fmt: skip


def test_directory_is_complete_and_nothing_lies_beside_it(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == FILES
    assert [path.name for path in exported.parent.iterdir()] == ["hf"]


def test_checksums_are_those_of_sha256sum(exported: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=exported, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert len((exported / "SHA256SUMS").read_text().splitlines()) == len(FILES) - 1


def test_weights_are_the_models_bit_by_bit(model_dir: Path, exported: Path) -> None:
    ours, theirs = load_file(model_dir / "model.safetensors"), load_file(exported / "model.safetensors")
    names = huggingface_names(read_config(model_dir))
    assert names.keys() == ours.keys()
    assert set(names.values()) == theirs.keys()
    assert all(torch.equal(ours[mine], theirs[name]) for mine, name in names.items())


def test_transformers_loads_it_without_a_warning_and_with_equal_logits(
    model_dir: Path, exported: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert caught == []
    assert "[transformers]" not in capfd.readouterr().err  # its log, which is not in `warnings`
    assert isinstance(model, transformers.LlamaForCausalLM)
    assert not any(info.values()), info
    ours, config = load_model(model_dir)
    tokens_BT = torch.randint(0, config.vocab_size, (2, config.context), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert (ours(tokens_BT) - model(tokens_BT).logits).abs().max() <= 1e-5


def rope_parameters(config: ModelConfig) -> dict[str, object]:
    """What transformers' documentation wants for each kind of scaling."""
    scaling = config.rope_scaling
    if scaling is None:
        return {"rope_type": "default"}
    if scaling.kind == "linear":
        return {"rope_type": "linear", "factor": 2.5}
    return {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }  # fmt: skip


def test_transformers_reads_the_configuration_that_was_meant(model_dir: Path, exported: Path) -> None:
    config, theirs = read_config(model_dir), transformers.AutoConfig.from_pretrained(exported)
    assert theirs.rope_parameters == {"rope_theta": config.rope_theta} | rope_parameters(config)
    assert theirs.head_dim == config.head_dim
    assert theirs.num_key_value_heads == config.n_kv_heads
    assert theirs.tie_word_embeddings == config.tie_embeddings
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 2, None)
    written = json.loads((exported / "config.json").read_text())
    assert written["rope_theta"] == config.rope_theta  # for readers from before rope_parameters
    old = rope_parameters(config)
    assert written["rope_scaling"] == (None if old["rope_type"] == "default" else old)
    assert written["torch_dtype"] == written["dtype"] == "float32"


@ONE_MODEL
@pytest.mark.parametrize("text", STRINGS)
def test_transformers_tokenizer_gives_equal_ids_and_the_text_back(
    tokenizer: Tokenizer, model_dir: Path, exported: Path, text: str
) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(exported)
    ids = theirs(text)["input_ids"]
    assert ids == tokenizer.encode(text, bos=True)
    assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids) == text


def test_transformers_continues_a_prompt_as_puna_does(model_dir: Path, exported: Path, tokenizer: Tokenizer) -> None:
    ours, _ = load_model(model_dir)
    prompt = tokenizer.encode("def main", bos=True)
    mine = list(generate_ids(ours, prompt, max_tokens=20, temperature=0, top_p=1, seed=0, eos_id=tokenizer.eos_id))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(exported)
    ids = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=20, do_sample=False,
        pad_token_id=tokenizer.eos_id,
    )[0].tolist()  # fmt: skip
    assert ids[len(prompt) : len(prompt) + len(mine)] == mine


def test_report_says_what_was_compared_and_from_what_it_was_made(model_dir: Path, exported: Path) -> None:
    report = read_record(exported / "equivalence.json")
    source = read_record(model_dir / "record.json")
    assert report is not None
    assert source is not None
    assert report["inputs"] == source["outputs"]
    results = report["results"]
    assert results["tensors_identical"] == len(huggingface_names(read_config(model_dir)))
    assert results["tokenizer_strings_equal"] > 300
    assert results["oracle"] == f"transformers {transformers.__version__}"
    assert 0 <= results["logits_max_abs_difference"] <= 1e-5


@ONE_MODEL
def test_existing_directory_is_refused_without_force(model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "hf"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(StorageError, match="exists already"):
        write_hf(model_dir, out, force=False)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    write_hf(model_dir, out, force=True)
    assert sorted(path.name for path in out.iterdir()) == FILES


@pytest.mark.parametrize("model_dir", ["grouped heads", "tied"], indirect=True)
def test_large_models_are_written_in_several_files(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf, "SHARD_BYTES", 100_000)
    out = tmp_path / "hf"
    write_hf(model_dir, out, force=False)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    found = {name: path.name for path in shards for name in load_file(path)}
    assert index["weight_map"] == found
    tensors = [tensor for path in shards for tensor in load_file(path).values()]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)
    assert all(path.stat().st_size < 110_000 or len(load_file(path)) == 1 for path in shards)


@ONE_MODEL
def test_proof_shows_nothing_of_the_oracle_on_the_terminal(
    model_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_hf(model_dir, tmp_path / "hf", force=False)
    assert capfd.readouterr() == ("", "")


@ONE_MODEL
def test_damaged_model_is_not_exported(model_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model_dir, copy)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        write_hf(copy, tmp_path / "hf", force=False)
    assert not (tmp_path / "hf").exists()


@ONE_MODEL
def test_export_that_fails_its_proof_leaves_nothing(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = hf.huggingface_config
    monkeypatch.setattr(hf, "huggingface_config", lambda *a: right(*a) | {"rms_norm_eps": 0.5})
    with pytest.raises(ExportError, match="logits differ"):
        write_hf(model_dir, tmp_path / "hf", force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"norm": "layer"}, "norm = 'layer'"),
        ({"qk_norm": True}, "qk_norm = true"),
        ({"norm": "layer", "qk_norm": True}, "norm = 'layer' and qk_norm = true"),
    ],
)
def test_what_llama_for_causal_lm_does_not_compute_is_refused(
    tmp_path: Path, tokenizer: Tokenizer, changes: dict[str, object], named: str
) -> None:
    shape = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 512, "context": 16}
    model = Llama(ModelConfig.model_validate(shape | changes))
    init_weights(model, 0)
    save_model(model, tmp_path / "model", tokenizer_bytes=tokenizer.model_bytes, inputs={})
    with pytest.raises(ExportError, match="LlamaForCausalLM computes norm = 'rms'") as caught:
        write_hf(tmp_path / "model", tmp_path / "hf", force=False)
    assert caught.value.message.startswith(f"{tmp_path / 'model' / 'model.toml'}: has {named}, but")
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

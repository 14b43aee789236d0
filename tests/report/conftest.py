"""A run's records as the other stages write them, small and made by hand."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.layout import RunDir
from puna.core.records import Record

HOSTILE = "</script><script>document.title = 'owned'</script> & \"quotes\" <img src=x onerror=alert(1)>"


@pytest.fixture
def report_run(tiny: Recipe, tmp_path: Path) -> RunDir:
    """A finished run with every part that a report shows; its texts try to break out of the page."""
    run = RunDir(tmp_path / "run")
    save_recipe(tiny, run.config)
    lines: list[dict[str, Any]] = []
    for step in range(1, 25):
        values = {"loss": 6 - step / 10, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 1000.0, "seconds": step}
        values |= {"tokens_per_second_overall": 900.0, "mfu": {"causal": 0.4, "full": 0.5}, "data_wait": 0.01}
        values |= {"memory_bytes": 2**20, "source_loss": {"prose": 5 - step / 10} | ({"code": 4.0} if step % 2 else {})}
        values |= {"source_tokens": {"prose": 192 * step, "code": 64 * step}}
        values |= {"epochs": {"prose": step / 10, "code": step / 20}}
        lines.append({"kind": "train", "step": step, "tokens": 256 * step} | values)
    for step, final in ((10, False), (20, False), (24, True)):
        bits = {"prose": 4 - step / 20, "code": 5 - step / 20}
        line = {"kind": "validation", "step": step, "tokens": 256 * step, "final": final, "loss": bits}
        lines.append(line | {"bits_per_byte": bits, "seconds": 1.0})
        lines.append(
            {"kind": "sample", "step": step, "tokens": 256 * step, "prompt": "The <b>", "text": HOSTILE + str(step)}
        )
        checkpoint = {"kind": "checkpoint", "step": step, "tokens": 256 * step, "seconds": 0.5, "asynchronous": True}
        lines.append(checkpoint)
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    splits = {
        split: {"documents": 3, "bytes": 3000, "tokens": 1000, "bytes_per_token": 3.0} for split in ("train", "heldout")
    }
    none = {"documents": 0, "bytes": 0}
    empty: dict = {"reasons": {}, "named": {}}
    described = {"named": {}, "others": none | {"names": 0}, "unknown": none}
    source = {
        "licence": "", "version": HOSTILE, "format": "text", "clean": [], "splits": splits, "steps": [],
        "lost": {"damaged": none, "parts": {}, "files": {"read": 1, "bytes": 0, "nothing": empty, "broken": empty}},
        "duplicates": {"duplicate": None}, "near_groups": None, "evaluation_sets": None,
        "languages": described, "licences": described,
        "years": {"named": {}, "unknown": none}, "paper": None, "share": 0.5, "run_tokens": 3072.0, "epochs": 3.07,
        "max_epochs": None, "built": {"share": 0.5, "tokens": 3072, "epochs": 3.0},
    }  # fmt: skip
    sources = [
        source | {"name": "prose", "dropped": {"invalid_utf8": 2}, "unigram_bits_per_byte": 2.5},
        source | {"name": "code", "dropped": {}, "unigram_bits_per_byte": 3.5},
    ]
    tokenizer = {"kind": "sentencepiece", "vocab_size": 512, "sha256": "ab" * 32, "text": {}}
    card = {"schema": 3, "name": "tiny", "description": "", "tokenizer": tokenizer, "sources": sources}
    card |= {"rules": {}, "dedup": {}, "run": {"tokens": 6144, "stages": 1, "refused": ""}}
    card["build"] = {
        "started": "2026-01-31T12:00:00+00:00", "puna": "0.1.0", "commit": None, "python": "3.11", "packages": {},
        "recipe_sha256": "", "files_sha256": "", "documents_sha256": "", "max_document_bytes": 1, "keep_dropped": False,
        "most_lost": 0.05,
    }  # fmt: skip
    card["reasons"] = {"invalid_utf8": "Its bytes are not text." + HOSTILE}
    run.data_card.write_text(json.dumps(card))
    record = Record("train", config=tiny.model_dump(exclude_none=True), inputs={"data": "cd" * 32})
    record.outputs = {"model.safetensors": "ef" * 32}
    record.results = {
        "parameters": 45_000, "tokens": 6144, "steps": 24, "train_seconds": 10.0, "wall_seconds": 12.0,
        "tokens_per_second": 614.4, "tokens_per_second_overall": 512.0, "peak_memory_bytes": 600 * 2**20,
        "device": "a processor, 2 cores", "device_flops": 1.9e11, "device_flops_source": "measured sgemm",
        "mfu": {"full": 0.55, "causal": 0.5, "param": 0.45},
        "energy": {
            "watts": 7.0, "watts_source": "a guess", "pue": 1.1, "carbon_intensity": 0.385, "kwh": 0.5, "kgco2eq": 0.2,
        },
        "sessions": 2, "final": {"loss": {"prose": 2.0}, "bits_per_byte": {"prose": 2.8, "code": 3.8}},
    }  # fmt: skip
    record.write(run.record)
    proof = Record("export-hf")
    proof.results = {
        "weights": {"tensors": 20, "identical": 20, "converted": {}, "quantized": {}},
        "tokenizer": {"forms": ["tokenizer.json"], "strings": 383}, "outputs": None,
        "oracle": "transformers 5", "logits_tokens": 256,
        "logits_max_abs_difference": 1.5e-6, "logits_tolerance": 1e-4,
    }  # fmt: skip
    proof.write(run.exports / "hf" / "equivalence.json")
    return run


@pytest.fixture
def tuned_run(report_run: RunDir) -> RunDir:
    """The run of the records as one of instruction tuning by low-rank updates, validated before its first step."""
    tuning = {"template": "chatml", "learn": "answers", "epochs": 2.0, "pack": True, "too_long": "cut"}
    tuning |= {"method": "lora", "base": "as-it-is", "freeze": [], "dropout": 0.0, "neftune": 5.0}
    lora = {"rank": 8, "alpha": 16.0, "dropout": 0.1, "targets": ["wq", "wv"], "rank_stabilised": False, "dora": False}
    tuning["lora"] = lora
    config = tomllib.loads(report_run.config.read_text()) | {"finetune": tuning}
    report_run.config.write_text(tomli_w.dumps(config))
    record = json.loads(report_run.record.read_text())
    record["config"]["finetune"] = tuning
    record["outputs"] = {"adapter/adapter_model.safetensors": "12" * 32, "model.safetensors": "ef" * 32}
    parent = {"how": "continued", "run": "demo", "place": "runs/demo", "step": 400, "tokens": 102_400}
    record["results"]["lineage"] = [parent]
    record["results"]["final"] = {"loss": {"prose": 2.0, "code": 2.5}, "bits_per_byte": {"prose": 0.7, "code": 0.8}}
    report_run.record.write_text(json.dumps(record))
    first = {"step": 0, "tokens": 0}
    bits = {"prose": 1.2, "code": 1.3}
    loss = {"loss": {"prose": 4.25, "code": 4.5}, "bits_per_byte": bits, "seconds": 1.0}
    begin: list[dict[str, Any]] = [
        {"kind": "validation", "final": False} | first | loss,
        {"kind": "sample", "prompt": "The <b>", "text": "once upon\x1b a time"} | first,
    ]
    metrics = report_run.metrics.read_text()
    report_run.metrics.write_text("".join(json.dumps(line) + "\n" for line in begin) + metrics)
    cut = {"examples": 2, "tokens": 300, "targets": 7}
    counts: list[dict[str, Any]] = [
        {
            "source": source, "split": split, "read": 12, "examples": 9, "tokens": 1000, "targets": 250,
            "dropped": {"too_long": 3}, "cut": cut,
        }
        for source in ("prose", "code") for split in ("train", "heldout")
    ]  # fmt: skip
    counts[-1] |= {"dropped": {}, "cut": {"examples": 0, "tokens": 0, "targets": 0}}
    run = {"sequences": 96, "context": 64, "examples": {"prose": 18, "code": 18}}
    run |= {"tokens": {"prose": 3000, "code": 2990}, "epochs": {"prose": 2.0, "code": 2.0}}
    record = {"schema": 1, "model": "runs/demo", "template_sha256": "ab" * 32, "parameters": 50_000, "learned": 500}
    record |= {"counts": counts, "reasons": {"too_long": "they do not fit <i>"}, "run": run}
    report_run.tuning.write_text(json.dumps(record))
    return report_run


@pytest.fixture
def pairs_run(tuned_run: RunDir) -> RunDir:
    """The tuned run as one that learns from pairs of answers."""
    record = json.loads(tuned_run.record.read_text())
    record["config"]["finetune"]["preference"] = {"loss": "dpo", "beta": 0.1}
    record["results"]["final"]["bits_per_byte"] = {}
    tuned_run.record.write_text(json.dumps(record))
    config = tomllib.loads(tuned_run.config.read_text())
    config["finetune"]["preference"] = {"loss": "dpo", "beta": 0.1}
    tuned_run.config.write_text(tomli_w.dumps(config))
    lines = [json.loads(line) for line in tuned_run.metrics.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "validation":
            line["bits_per_byte"] = {}
    figures = {"pairs": 4, "loss": 0.69, "chosen_reward": 0.0, "rejected_reward": 0.0}
    figures |= {"chosen_log_prob": -9.0, "rejected_log_prob": -8.0}
    for step, final, accuracy in ((0, False, 0.5), (24, True, 0.75)):
        line = {"kind": "preferences", "step": step, "tokens": 256 * step, "split": "heldout", "final": final}
        lines.append(line | {"sources": {"prose": figures | {"accuracy": accuracy, "chosen_reward": step / 24}}})
    tuned_run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tuned_run

"""Bits per byte against the definition: one long sum over the documents' own text."""

import math

import pytest
import torch

from puna.config.recipe import ParallelConfig, Recipe
from puna.core.layout import DataDir, RunDir
from puna.data.documents import documents_of
from puna.model.files import load_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective
from puna.parallel.world import World
from puna.shards.shards import TokenShards
from puna.shards.split import HELDOUT
from puna.tokenizer.load import load_tokenizer
from puna.train.validate import validate


def _validate(tiny: Recipe, data: DataDir, run: RunDir, **changes: object):
    model = load_model(run.model).model
    tokenizer = load_tokenizer(data.tokenizer)
    heldout = {source: TokenShards.open(data.shards / source / HELDOUT) for source in tiny.mixture}
    chunk = changes.pop("chunk_tokens", 50)
    arguments = {"max_tokens": None, "micro_batch_tokens": 128} | changes
    world = World(0, 1, torch.device("cpu"), None)
    objective = Objective(model, build_mesh(ParallelConfig(), world), chunk)
    return validate(
        objective, heldout, [len(b) for b in tokenizer.token_bytes()], world, space_prefix=True, **arguments
    )  # fmt: skip


@torch.no_grad()
def test_bits_per_byte_is_its_definition(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir):
    """Tokens of all documents one after the other, in windows; -log2 p of each token but <s>, over the UTF-8 bytes."""
    model = load_model(tiny_run.model).model
    tokenizer = load_tokenizer(tiny_data.tokenizer)
    context = tiny.model.context
    documents = list(documents_of(tiny_data, "code", HELDOUT))
    ids = [token for document in documents for token in tokenizer.encode(document.text, bos=True, eos=True)]
    nats, count = 0.0, 0
    for start in range(0, len(ids) - 1, context):
        window = ids[start : start + context + 1]
        log_probabilities = torch.log_softmax(model(torch.tensor([window[:-1]]))[0].double(), dim=-1)
        for position, target in enumerate(window[1:]):
            if target != tokenizer.bos_id:
                nats -= log_probabilities[position, target].item()
                count += 1
    n_bytes = sum(len(document.text.encode()) for document in documents)
    result = _validate(tiny, tiny_data, tiny_run)
    assert result.loss["code"] == pytest.approx(nats / count, rel=1e-6)
    assert result.bits_per_byte["code"] == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-6)


def test_batching_and_chunks_change_nothing(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir):
    one = _validate(tiny, tiny_data, tiny_run)
    other = _validate(tiny, tiny_data, tiny_run, micro_batch_tokens=32 * 7, chunk_tokens=1000)
    assert one.bits_per_byte == pytest.approx(other.bits_per_byte, rel=1e-6)


def test_part_of_the_text_estimates_the_whole(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir):
    whole = _validate(tiny, tiny_data, tiny_run)
    part = _validate(tiny, tiny_data, tiny_run, max_tokens=4096)
    assert part.bits_per_byte != whole.bits_per_byte
    assert part.bits_per_byte["prose"] == pytest.approx(whole.bits_per_byte["prose"], rel=0.1)


def test_run_recorded_this_validation(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir):
    import json

    recorded = json.loads(tiny_run.record.read_text())["results"]["final"]["bits_per_byte"]
    assert _validate(tiny, tiny_data, tiny_run).bits_per_byte == pytest.approx(recorded, rel=1e-6)

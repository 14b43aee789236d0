import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard_files import write_shards

from puna.shards.heldout import IGNORE, heldout_batches
from puna.shards.shards import TokenShards
from puna.shards.writer import Encoded

texts = st.text(st.sampled_from(" \n\t▁aé漢🦙Tyger,0")) | st.text()
LENGTHS = [0, 0, 0] + [1] * 60000


@pytest.fixture
def shards(write_tokens) -> TokenShards:
    """Documents of growing length in which no token occurs twice."""
    return write_tokens([list(range(1000 * n, 1000 * n + 7 * n)) for n in range(1, 9)], shard_tokens=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(documents=st.lists(texts.filter(str.strip), min_size=1, max_size=8), context=st.integers(2, 9))
def test_bytes_of_all_targets_are_exactly_the_bytes_of_the_text(tmp_path, any_tokenizer, documents, context):
    tokenizer = any_tokenizer
    encoded = [Encoded("id", "origin", tokenizer.encode(text), len(text.encode())) for text in documents]
    out = tmp_path / "shards"
    write_shards(out, encoded, tokenizer, source="s", split="heldout", shard_tokens=50, documents_sha256="d")
    shards = TokenShards.open(out)
    lengths = [len(text) for text in tokenizer.token_bytes()]
    batches = list(heldout_batches(shards, context, 3, lengths, max_tokens=None, space_prefix=tokenizer.space_prefix))
    assert shards.text_bytes == len("".join(documents).encode())
    assert sum(int(batch.bytes_BT.sum()) for batch in batches) == shards.text_bytes
    assert all((batch.bytes_BT >= 0).all() for batch in batches)
    scored = sum(int((batch.targets_BT != IGNORE).sum()) for batch in batches)
    # Every token but <s>; where one token begins and ends texts, every one but the first.
    assert scored == shards.tokens - (len(documents) if tokenizer.bos_id != tokenizer.eos_id else 1)


@pytest.mark.parametrize("context", [5, 8, 16, 1000])
def test_every_token_is_predicted_once_from_the_one_before_it(shards: TokenShards, context: int):
    stream = np.asarray(shards.read(0, shards.tokens), dtype=np.int64)
    batches = list(heldout_batches(shards, context, 3, LENGTHS, max_tokens=None, space_prefix=True))
    inputs = np.concatenate([batch.inputs_BT.flatten() for batch in batches])[: len(stream) - 1]
    targets = np.concatenate([batch.targets_BT.flatten() for batch in batches])
    assert np.array_equal(inputs, stream[:-1])
    expected = np.where(stream[1:] == shards.bos_id, IGNORE, stream[1:])
    assert np.array_equal(targets[: len(stream) - 1], expected)
    assert (targets[len(stream) - 1 :] == IGNORE).all()
    assert len(targets) - (len(stream) - 1) < context


def test_batches_have_the_rows_that_were_asked_for_and_the_last_one_the_rest(shards: TokenShards):
    batches = list(heldout_batches(shards, 5, 4, LENGTHS, max_tokens=None, space_prefix=True))
    windows = -(-(shards.tokens - 1) // 5)
    assert [len(batch.inputs_BT) for batch in batches] == [4] * (windows // 4) + [windows % 4] * (windows % 4 > 0)


@pytest.mark.parametrize("max_tokens", [1, 20, 50, 100])
def test_a_part_is_spread_evenly_over_the_split_and_never_larger_than_asked(shards: TokenShards, max_tokens: int):
    context = 5
    stream = np.asarray(shards.read(0, shards.tokens), dtype=np.int64)
    batches = list(heldout_batches(shards, context, 3, LENGTHS, max_tokens=max_tokens, space_prefix=True))
    rows = np.concatenate([batch.inputs_BT for batch in batches])
    assert len(rows) == max(1, max_tokens // context)
    windows = stream[: (len(stream) - 1) // context * context].reshape(-1, context)
    found = [next(n for n, window in enumerate(windows) if np.array_equal(window, row)) for row in rows]
    assert found[0] == 0
    steps = np.diff([*found, -(-(len(stream) - 1) // context)])
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


def test_asking_for_more_than_there_is_gives_everything(shards: TokenShards):
    everything = list(heldout_batches(shards, 5, 100, LENGTHS, max_tokens=None, space_prefix=True))
    more = list(heldout_batches(shards, 5, 100, LENGTHS, max_tokens=10**9, space_prefix=True))
    assert len(everything) == len(more) == 1
    assert np.array_equal(everything[0].targets_BT, more[0].targets_BT)

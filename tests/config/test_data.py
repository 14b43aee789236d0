from typing import Any

import pytest
from pydantic import ValidationError

from puna.config.data import DataConfig, Source

FILES = {"path": "here", "include": ["*"], "heldout_fraction": 0.1}


def _data(**values: Any) -> DataConfig:
    return DataConfig.model_validate({"sources": {"web": FILES}} | values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "package"}, "kind = 'package' needs 'package'; kind = 'package' takes no 'path'"),
        ({"sites": 28}, "format = 'text' takes no 'sites'"),
        ({"format": "warc", "text_field": "x"}, "format = 'warc' takes no 'text_field'"),
        ({"clean": ["c4", "pii", "c4"]}, "clean names a rule twice"),
        ({"heldout_pattern": "x"}, "give either heldout_pattern or heldout_fraction"),
        ({"heldout_fraction": 0.0}, "give either heldout_pattern or heldout_fraction"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(values: dict, sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        Source(**(FILES | values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"dedup": {"near": {"sources": ["news"]}}}, "dedup.near.sources names news but sources are web"),
        ({"dedup": {"contained": {"sources": ["news"]}}}, "dedup.contained.sources names news but sources are web"),
        ({"sources": {"web": FILES | {"clean": ["perplexity"]}}}, "which needs rules.perplexity.model"),
        ({"sources": {"web": FILES | {"clean": ["wikipedia-like"]}}}, "which needs rules.wikipedia_like.model"),
        ({"sources": {"web": FILES | {"clean": ["decontaminate"]}}}, "which needs rules.decontaminate.sets"),
    ],
)
def test_data_that_lack_what_they_name_are_refused(values: dict, sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        _data(**values)


@pytest.mark.parametrize(
    ("include", "form"),
    [
        (["*.txt"], "text"), (["**/*.jsonl"], "jsonl"), (["a/*.jsonl.zst", "b.ndjson"], "jsonl"),
        (["x.PARQUET"], "parquet"),
        (["*.arrow"], "arrow"), (["*.warc.gz"], "warc"), (["*.warc.wet.gz"], "wet"), (["*.jsonl", "*.txt"], "text"),
        (["*.jsonl", "*.parquet"], "text"), (["**/*"], "text"), (["*.json"], "text"),
    ],
)  # fmt: skip
def test_format_that_is_not_given_follows_from_the_endings_in_include(include: list[str], form: str) -> None:
    source = Source(path="x", include=include, heldout_fraction=0.1)
    assert source.format == form
    assert Source(path="x", include=include, heldout_fraction=0.1, format="text").format == "text"
    if form == "jsonl":
        assert Source(path="x", include=include, heldout_fraction=0.1, text_field="body").text_field == "body"

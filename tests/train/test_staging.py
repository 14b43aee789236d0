"""Copies that training cannot change, and the order in which a GPU's work waits for them."""

from contextlib import nullcontext

import pytest
import torch

from puna.train.staging import Staging


def test_copies_from_a_cpu_do_not_follow_later_changes():
    staging, weight = Staging(torch.device("cpu")), torch.ones(3)
    copies = staging.copied({"weight": weight})
    staging.before_update()
    weight.zero_()
    staging.wait()
    assert copies["weight"].tolist() == [1.0, 1.0, 1.0]


class Recorder:
    """Stands for CUDA's streams and events, and notes what is asked of them."""

    asked: list[str]

    def __init__(self, name: str, asked: list[str]) -> None:
        self.name, self.asked = name, asked

    def __getattr__(self, what: str):
        return lambda *others: self.asked.append(" ".join([self.name, what, *[str(other) for other in others]]))

    def __str__(self) -> str:
        return self.name


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Recorder("side", asked))
    monkeypatch.setattr(torch.cuda, "Event", lambda: Recorder("copied", asked))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Recorder("main", asked))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    return asked


def test_a_gpu_copies_after_the_work_before_and_updates_after_the_copies(asked: list[str]):
    staging = Staging(torch.device("cuda"))
    count = torch.ones(())
    copies = staging.copied({"count": count})
    assert asked == ["side wait_stream main", "copied record side"]
    count += 1
    assert copies["count"] == 1
    staging.before_update()
    staging.before_update()
    assert asked[2:] == ["main wait_event copied"]
    staging.wait()
    assert asked[3:] == ["side synchronize"]

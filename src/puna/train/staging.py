"""Copies of a state in the host's memory, made while the device goes on computing."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from puna.core.console import warn
from puna.model.parts import local


class Staging:
    """The copies of a checkpoint's tensors while they are written.

    From a GPU they are copied into page-locked memory, which is made for the first checkpoint and used by all: making
    it takes longer than the copy, which then runs at the rate of the bus. From a CPU each save copies into memory of
    its own.

    Args:
        device: Where the tensors come from.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory: dict[str, Tensor] = {}
        self._stream: torch.cuda.Stream | None = None
        self._copied: torch.cuda.Event | None = None
        self._pins = True

    def copied(self, named: dict[str, Tensor]) -> dict[str, Any]:
        """Copies that carry their tensor's name and offset; complete after `wait`.

        The tensors must not change before `before_update` has been called.
        """
        if self._device.type != "cuda":
            return {name: _like(tensor, held.to("cpu", copy=True)) for name, tensor, held in _locals(named)}
        self._stream = self._stream or torch.cuda.Stream(self._device)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        copies = {}
        with torch.cuda.stream(self._stream):
            for name, tensor, held in _locals(named):
                if held.device.type == "cpu":
                    copies[name] = _like(tensor, held.clone())
                    continue
                if name not in self._memory or self._memory[name].shape != held.shape:
                    self._memory[name] = self._made(held)
                copies[name] = _like(tensor, self._memory[name].copy_(held, non_blocking=True))
            self._copied = torch.cuda.Event()
            self._copied.record(self._stream)
        return copies

    def before_update(self) -> None:
        """Make the device's next work wait for the copies; this process does not wait."""
        if self._copied is not None:
            torch.cuda.current_stream(self._device).wait_event(self._copied)
            self._copied = None

    def wait(self) -> None:
        """Return when the copies are complete."""
        if self._stream is not None:
            self._stream.synchronize()

    def _made(self, held: Tensor) -> Tensor:
        if self._pins:
            try:
                return torch.empty_like(held, device="cpu", pin_memory=True)
            except RuntimeError as error:
                self._pins = False
                warn(f"checkpoints take longer to copy: no page-locked memory ({str(error).splitlines()[0]})")
        return torch.empty_like(held, device="cpu")


def _locals(named: dict[str, Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    """Each name, its tensor, and the part of it that this process holds."""
    return [(name, tensor, local(tensor).detach()) for name, tensor in named.items()]


def _like(tensor: Tensor, copy: Tensor) -> Any:
    return DTensor(copy, tensor._spec, requires_grad=False) if isinstance(tensor, DTensor) else copy

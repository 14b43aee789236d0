"""Event files that TensorBoard reads, written in the thread that calls.

TensorBoard's own writer writes in a thread of its own, where the error of a full disk cannot be caught; here the caller
gets it.
"""

import itertools
import os
import platform
import time
from pathlib import Path

# pyrefly: ignore[missing-module-attribute] protobuf makes them as the module is imported
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

# pyrefly: ignore[missing-module-attribute]
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import text as text_summary

from puna.core.files import storage_errors

_VERSION = "brain.Event:2"
_numbers = itertools.count()


class EventFile:
    """Appends to one new event file; each event is written before the next one begins.

    Args:
        folder: Where TensorBoard will look; made if it does not exist.
        first_step: TensorBoard drops what older files hold from this step on.

    Raises:
        StorageError: The disk is full or the folder not writable.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{platform.node()}.{os.getpid()}.{next(_numbers)}"
        self._path = folder / name
        with storage_errors(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb")
            self._writer = RecordWriter(self._file)
            self._add(Event(step=first_step, file_version=_VERSION))
            self.rewind(first_step)

    def write(self, step: int, numbers: dict[str, float], texts: dict[str, str]) -> None:
        """Append the numbers and texts of a step under their tags.

        Raises:
            StorageError: The disk is full.
        """
        values = [Summary.Value(tag=tag, simple_value=number) for tag, number in numbers.items()]
        for tag, text in texts.items():
            values += text_summary(tag, text).value
        self._add(Event(step=step, summary=Summary(value=values)))

    def rewind(self, first_step: int) -> None:
        """Make TensorBoard drop what was written from this step on."""
        self._add(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def close(self) -> None:
        """Close the file.

        Raises:
            StorageError: The disk is full.
        """
        with storage_errors(self._path):
            self._file.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        with storage_errors(self._path):
            self._writer.write(event.SerializeToString())
            self._file.flush()

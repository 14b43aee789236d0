"""llama.cpp's server with one file, in a process of its own.

Inside this process it could hold Python's lock and never let go (seen once in an hour of tests: nothing of the process
ran any more). A process can be ended, whatever it does.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from puna.core.errors import ExportError

_BASE_S = 120
_BYTES_PER_S = 20_000_000
"""Whatever has not answered after two minutes, and the time in which a slow disk reads the file, will not."""
_START = "import sys; sys.path[:] = sys.argv[2:]; from puna.formats.gguf.llama_server import main; main()"


class NotAnsweringError(Exception):
    """The server did not answer in a time that is long enough; its process is ended."""


class LlamaServer:
    """Starts the server, and ends it when the `with` block is left; the package xllamacpp must be installed.

    Attention and its cache are in float32.

    Args:
        file: A GGUF file.
        context: Tokens that the cache has room for; llama.cpp needs at least 64.
        threads: That compute.

    Raises:
        ExportError: It does not load the file.
        NotAnsweringError: It neither loads nor refuses it.
    """

    def __init__(self, file: Path, *, context: int = 64, threads: int = 1) -> None:
        self._name = file.name
        self._most_s = _BASE_S + file.stat().st_size / _BYTES_PER_S
        settings = json.dumps({"file": str(file), "context": max(64, context), "threads": threads})
        path = [place for place in sys.path if place]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, settings, *path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            self.address = self._started()
            """Where it listens: `http://127.0.0.1:…`."""
        except BaseException:
            self.close()
            raise

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """What the server answers to a request, as JSON.

        Args:
            path: Of its HTTP interface, such as `tokenize`.
            body: The request.

        Raises:
            NotAnsweringError: It does not.
        """
        # The address is that of the own child on the loopback interface.
        request = urllib.request.Request(  # noqa: S310
            f"{self.address}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._most_s) as answer:  # noqa: S310
                return json.load(answer)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise NotAnsweringError(f"llama.cpp's server does not answer: {error!s:.200}") from None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:  # closes its pipes and waits for it
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as asked for
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(self._most_s):
                raise NotAnsweringError(f"llama.cpp's server has not loaded the file after {self._most_s:.0f} s")
        # It writes one short line, at once, or ends without.
        said = json.loads(self._process.stdout.readline() or b'{"refused": "it crashed"}')
        if "refused" in said:
            raise ExportError(f"{self._name}: llama.cpp does not load it: {said['refused']:.200}")
        return said["address"]


def main() -> None:
    """Serve until standard input ends; the first line of standard output says where, or why not."""
    settings = json.loads(sys.argv[1])
    # What the library itself prints goes nowhere.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        llama: Any = import_module("xllamacpp")
        parameters = llama.CommonParams()
        parameters.model.path = settings["file"]
        parameters.n_ctx, parameters.n_parallel = settings["context"], 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings["threads"]
        parameters.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.cache_type_k = parameters.cache_type_v = llama.ggml_type.GGML_TYPE_F32
        parameters.warmup, parameters.verbosity = False, -1
        try:
            server = llama.Server(parameters)
        except Exception as error:  # it raises nothing more special
            print(json.dumps({"refused": str(error)}), file=out, flush=True)
            os._exit(1)
        print(json.dumps({"address": server.listening_address}), file=out, flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # its own end may wait for ever, too

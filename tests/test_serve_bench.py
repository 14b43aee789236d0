"""bench/serve.py runs with a tiny model, so that its record is whole when it is made on a quiet machine."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import script_module

BENCH = Path(__file__).parents[1] / "bench"


async def asked(answer: list[bytes], requests: int, clients: int) -> tuple[Any, int]:
    """The load on a server that answers so, and how many asked at once at most."""
    client = script_module("bench/serve_client.py")
    open_now, most = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["stream_options"] == {"include_usage": True}
        for part in answer:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        open_now -= 1
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        load = await client.closed_loop(f"http://127.0.0.1:{port}", [{"prompt": [1]}] * requests, clients)
    return load, most


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def test_a_load_is_the_tokens_and_texts_of_all_requests_and_no_more_clients_than_were_asked_for() -> None:
    answer = [
        HEAD, b': ping\n\ndata: {"choices": [{"text": "a"}], "usage": null}\n\nda',
        b'ta: {"choices": [{"text": "b"}]}\n\n',
        b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\ndata: [DO', b"NE]\n\n",
    ]  # fmt: skip
    load, most = asyncio.run(asked(answer, requests=7, clients=3))
    assert (load.tokens, load.texts, most) == (14, ["ab"] * 7, 3)
    assert all(0 < first <= load.seconds for first in load.first_seconds)


@pytest.mark.parametrize(
    "answer", [[b"HTTP/1.1 500 No\r\n\r\n{}"], [HEAD, b'data: {"choices": []}\n\n']], ids=["error", "cut"]
)
def test_an_error_or_half_an_answer_ends_the_load(answer: list[bytes]) -> None:
    with pytest.raises(RuntimeError, match=r"answered: HTTP/1\.1"):
        asyncio.run(asked(answer, requests=1, clients=1))


def row(system: str, weights: str, rounds: list[float], first: list[float]) -> dict[str, Any]:
    return {
        "section": "peers", "threads": 1, "clients": 1, "system": system, "weights": weights, "rounds": rounds,
        "first_seconds_rounds": first,
    }  # fmt: skip


def test_ratios_are_taken_within_a_round_beside_peers_of_as_many_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    found = script_module("bench/serve.py").ratios(
        [
            row("puna", "int8", [20.0, 10.0, 30.0], [0.1, 0.2, 0.4]),
            row("llama.cpp", "Q8_0", [10.0, 10.0, 10.0], [0.2, 0.2, 0.2]),
            row("llama.cpp", "F32", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
        ]
    )
    assert [(one["over"], one["tokens_per_second"], one["first_token"]) for one in found] == [
        ("llama.cpp Q8_0", 2.0, 1.0)
    ]
    assert (found[0]["tokens_per_second_min_max"], found[0]["first_token_min_max"]) == ([1.0, 3.0], [0.5, 2.0])


@pytest.mark.e2e
def test_a_dry_run_takes_every_section_and_every_table_can_be_made(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, str(BENCH / "serve.py"), "--dry", "--record", str(path)], capture_output=True, text=True,
        timeout=900, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(path.read_text())
    here = {(row["section"], row["system"], row["clients"]) for row in record["rows"]}
    both = [("overhead", "engine"), ("overhead", "puna"), ("peers", "puna"), ("peers", "llama.cpp")]
    both += [("plain", "puna"), ("guided", "puna")]
    assert here == {(*one, clients) for one in both for clients in (1, 3)} | {
        ("mixed", "puna", 2), ("mixed", "llama.cpp", 2)
    }  # fmt: skip
    assert all(row["tokens_per_second"] > 0 and row["first_seconds"] > 0 for row in record["rows"])
    tables = {name: part(record, "origin") for name, part in script_module("bench/serve_tables.py").PARTS.items()}
    assert tables["serve_overhead"].count("\n| float32 | 1 |") == 2
    assert tables["serve_peers"].count("llama.cpp F32 |") == 2
    assert "**puna float32**" in tables["serve_mixed"]
    assert tables["serve_guided"].count(" ms |") == 2

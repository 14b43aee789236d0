"""Messages come out as they went in, in pieces of any size; a completion is put together from what was told."""

import asyncio
import pickle
import socket
import threading
from typing import Any

import pytest
from chats import chat_tokenizer
from fake_runner import FakeRunner
from hypothesis import given
from hypothesis import strategies as st

from puna.infer.engine import Engine
from puna.infer.requests import Event, Request, Sampling
from puna.serve import wire


def engine() -> Engine:
    tokenizer = chat_tokenizer(add_bos=False)
    return Engine(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer, max_rows=8, max_requests=4)


@given(st.lists(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5), max_size=5), st.data())
def test_messages_are_read_from_pieces_of_any_size(messages: list[Any], data: st.DataObject) -> None:
    content = b"".join(map(wire.frame, messages))

    async def read() -> list[Any]:
        reader = asyncio.StreamReader()
        rest = content
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            reader.feed_data(rest[:size])
            rest = rest[size:]
        reader.feed_eof()
        got = [await wire.received(reader) for _ in messages]
        with pytest.raises(EOFError):
            await wire.received(reader)
        return got

    assert asyncio.run(read()) == messages


def test_a_message_larger_than_the_sockets_buffer_is_read_whole_and_half_of_one_is_the_end() -> None:
    one, other = socket.socketpair()
    with one, other:
        message = list(range(1_000_000))
        thread = threading.Thread(
            target=lambda: (one.sendall(wire.frame(message) + wire.frame("half")[:-1]), one.close())
        )
        thread.start()
        assert wire.receive(other) == message
        with pytest.raises(EOFError):
            wire.receive(other)
        thread.join()


def test_events_and_completions_come_out_as_the_engine_made_them() -> None:
    tokenizer = chat_tokenizer(add_bos=False)
    ids = tuple(tokenizer.encode("What is the capital of France?"))
    requests = [
        Request(prompt=ids, max_tokens=9, n=3, logprobs=2, prompt_logprobs=1, sampling=Sampling(seed=4)),
        Request(prompt=ids, max_tokens=0, prompt_logprobs=0, scored_from=len(ids) - 1, instead=(5, 6)),
        Request(prompt=ids, max_tokens=40, stop=("a", "e"), stop_ids=frozenset(range(300))),
        Request(prompt=ids, max_tokens=30, stop=("a", "e"), sampling=Sampling(seed=1)),
    ]
    for request in requests:
        assert request == pickle.loads(pickle.dumps(request))
        joined = wire.Joined(request.n)
        expected: list[Event] = list(engine().stream([request]))
        found = [joined.event(wire.slim(event, number=7)) for event in expected]
        assert found == expected
        assert any(event.completion for event in found)

"""How much a client may take of the server, and where each number is from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of bytes, seconds, connections and requests; what is longer or more gets an error that says so."""

    body_bytes: int = 8 << 20
    """Of a request's body: 413. A million token ids, written as JSON, have 7 MB. To parse as much takes up to 2.8 s of
    the one thread that serves everybody, measured on turns of a chat in parts of one letter."""
    bodies_bytes: int = 64 << 20
    """Of all bodies that the server holds at a time: 503. Eight of the largest, of which a key may have half: 429."""
    body_s: float = 60.0
    """From the headers to the body's last byte: 408. nginx's `client_body_timeout`, there between two reads."""
    header_bytes: int = 32 << 10
    """Of a request's first line and headers: 431. nginx's `large_client_header_buffers` (4 of 8 KiB)."""
    headers: int = 100
    """Lines of headers: 431. Apache's `LimitRequestFields`."""
    pipelined: int = 100
    """Requests of a connection that wait behind one another: with more, it is cut off. Each takes some kilobytes, and
    few clients send a second one before the first is answered."""
    header_s: float = 20.0
    """From a connection's beginning, or a request's first byte, to its last header: 408. Apache's `mod_reqtimeout`."""
    idle_s: float = 75.0
    """A connection is kept for a further request. nginx's `keepalive_timeout`; longer than clients keep theirs (httpx:
    5 s), so that none sends a request just when the server hangs up."""
    write_s: float = 60.0
    """A client may leave an answer unread: then it is cut off. nginx's `send_timeout`."""
    connections: int = 512
    """At a time: those that wait for nothing are closed for new ones, then 503. nginx's `worker_connections`."""
    requests_at_once: int = 64
    """Of one key: 429. A quarter of the engine's queue, so that no key fills it."""
    requests_per_minute: int | None = None
    """Of one key: 429; None counts nothing. What is not used is kept for one minute."""

"""A file of unknown length into a bucket: in parts, while it is still being made, and gone if it fails."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

_CHUNKS_AHEAD = 4
_POLL_SECONDS = 0.2

# Takes all bytes at once, or one after the other.
Send = Callable[[bytes | Iterator[bytes]], object]


class Upload:
    """Gathers a part's worth; what is smaller goes in one request, what is larger through a thread of its own."""

    def __init__(self, send: Send, part_bytes: int) -> None:
        self._send = send
        self._part_bytes = part_bytes
        self._first = bytearray()
        self._queue: queue.Queue[bytes] = queue.Queue(_CHUNKS_AHEAD)
        self._thread: threading.Thread | None = None
        self._gone = threading.Event()
        self._failure: BaseException | None = None

    def write(self, chunk: bytes) -> None:
        """Take so much more; blocks while the network is behind, and raises what the upload ran into."""
        if self._thread is not None:
            # An empty one means the end in there.
            if chunk:
                self._put(chunk)
            return
        self._first += chunk
        if len(self._first) > self._part_bytes:
            self._thread = threading.Thread(target=self._work, name="upload", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait until all is there; raises what the upload ran into."""
        if self._thread is None:
            self._send(bytes(self._first))
            return
        self._put(b"")
        self._thread.join()
        self._check()

    def abort(self) -> None:
        """End it: what was uploaded so far is dropped by the server. Waits for the request under way."""
        self._gone.set()
        if self._thread is not None:
            self._thread.join()

    def _put(self, chunk: bytes) -> None:
        while not self._gone.is_set():
            self._check()
            with suppress(queue.Full):
                return self._queue.put(chunk, timeout=_POLL_SECONDS)
        return None

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            self._send(self._chunks())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever writes
            self._failure = error

    def _chunks(self) -> Iterator[bytes]:
        first, self._first = bytes(self._first), bytearray()
        yield first
        del first
        while True:
            try:
                chunk = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                chunk = None
            if self._gone.is_set():
                raise _Aborted
            if chunk == b"":
                return
            if chunk is not None:
                yield chunk


class _Aborted(Exception):
    """Raised into the upload, so that it drops its parts."""

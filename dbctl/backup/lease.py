"""One run at a time in a bucket: a lease that its owner renews, and that anybody may take once it has run out."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from dbctl.errors import Busy, DbctlError, Failed

LEASE_KEY = "lease.json"
CLOCK_KEY = "clock"
_RENEWALS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """An object, and what names exactly this version of it."""

    content: bytes
    version: dict[str, str]
    modified_at: datetime


class Register(Protocol):
    """A small object that is only written by who has seen its last version."""

    def look(self, key: str) -> Seen | None:
        """The object as it is; None where there is none."""

    def put_if(self, key: str, content: bytes, version: dict[str, str] | None) -> dict[str, str] | None:
        """Write it if it is of that version (None: if it is not there); its new version, or None: somebody was faster."""

    def server_time(self) -> datetime:
        """By the clock of the server, the one that stamps the objects."""


class Lease:
    """Ours, until it is given back; renewed by a thread as long as this process lives."""

    def __init__(self, register: Register, seconds: float, place: str) -> None:
        self._register = register
        self._seconds = seconds
        self._place = place
        self._token = secrets.token_hex(8)
        self._since = datetime.now(UTC)
        self._version: dict[str, str] = {}
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._lost = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take it for the length of a ``with``. Raises Busy, which says who has it."""
        self._take()
        thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            # By its version, so that nobody else's is given away.
            with self._guard, suppress(DbctlError):
                if not self._lost:
                    self._register.put_if(LEASE_KEY, self._content(free=True), self._version)

    def ensure(self) -> None:
        """Raise Failed if it is no longer ours, as the server sees it now."""
        self._renew()
        if self._lost:
            raise Failed(
                f"the lease on {self._place} was lost",
                why=f"it was not renewed for {self._seconds:g} s, and another run took it",
                hint="try again; a machine that sleeps, or a network that is cut, does that",
            )

    def _take(self) -> None:
        seen = self._register.look(LEASE_KEY)
        if seen is not None:
            self._ensure_free(seen)
        version = self._register.put_if(LEASE_KEY, self._content(), seen.version if seen else None)
        version = version or self._ours()
        if version is None:
            raise Busy(
                "another run is at work", why=f"it has just taken {self._place}", hint="wait for it to end"
            )
        self._version = version

    def _ensure_free(self, seen: Seen) -> None:
        try:
            said: dict[str, Any] = json.loads(seen.content)
            free, seconds, owner = (
                said["free"],
                float(said["seconds"]),
                f"{said['owner']} since {said['since']}",
            )
        except (ValueError, KeyError, TypeError):
            free, seconds, owner = False, self._seconds, "somebody"
        if free:
            return
        # Both stamps are the server's: our own clock may be wrong.
        age = (self._register.server_time() - seen.modified_at).total_seconds()
        if age <= seconds:
            raise Busy(
                "another run is at work",
                why=f"{self._place} is leased to {owner}, last renewed {max(age, 0):.0f} s ago",
                hint=f"wait for it to end; if it is dead, its lease ends {seconds:g} s after it was renewed",
            )

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _RENEWALS):
            # A network that is away for a moment: the next time is early enough.
            with suppress(DbctlError):
                self._renew()

    def _renew(self) -> None:
        with self._guard:
            if self._lost:
                return
            version = self._register.put_if(LEASE_KEY, self._content(), self._version) or self._ours()
            self._lost = version is None
            if version is not None:
                self._version = version

    def _ours(self) -> dict[str, str] | None:
        """The version of the lease if it is ours all the same: it was written, and only the answer was lost."""
        seen = self._register.look(LEASE_KEY)
        return seen.version if seen and self._token.encode() in seen.content else None

    def _content(self, *, free: bool = False) -> bytes:
        said = {
            "owner": f"process {os.getpid()} on {socket.gethostname()}",
            "since": f"{self._since:%Y-%m-%dT%H:%M:%SZ}",
            "seconds": self._seconds,
            "free": free,
            "token": self._token,
            # Another content each time, hence another version.
            "renewal": secrets.token_hex(4),
        }
        return json.dumps(said).encode()

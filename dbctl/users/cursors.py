"""Cursors: a place in a listing, opaque to whoever holds it, good for that listing alone."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from hashlib import blake2b

from dbctl.errors import Invalid

_MARK_BYTES = 8
_MAX_CHARACTERS = 2_000


def write_cursor(listing: str, place: list[str | int]) -> str:
    """The place as a text; ``listing`` says in which order, and of what."""
    written = json.dumps(place, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mark(listing, written) + written).decode().rstrip("=")


def read_cursor(listing: str, text: str) -> list[str | int]:
    """The place again. Raises Invalid for one that was changed, or is of another listing."""
    with suppress(ValueError):
        padded = text[:_MAX_CHARACTERS] + "=" * (-len(text) % 4)
        read = base64.b64decode(padded, altchars="-_", validate=True)
        mark, written = read[:_MARK_BYTES], read[_MARK_BYTES:]
        if mark == _mark(listing, written):
            place: list[str | int] = json.loads(written)
            return place
    raise Invalid("cursor", "it is not one that this listing gave", hint="begin without it")


def _mark(listing: str, written: bytes) -> bytes:
    """No secret: it tells a mistake, and who makes a cursor of his own sees nothing that a listing does not show."""
    return blake2b(written, digest_size=_MARK_BYTES, key=listing.encode()[:64]).digest()

"""Cursors: a place in a listing, opaque to whoever holds it, good for that listing alone."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from dbctl.errors import Invalid
from dbctl.users.rules import storable

_MARK_BYTES = 8
_MAX_CHARACTERS = 2_000
_MAX_BIGINT = 2**63 - 1


def write_cursor(listing: str, place: list[str | int]) -> str:
    """The place as a text; ``listing`` says in which order, and of what."""
    written = json.dumps(place, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mark(listing, written) + written).decode().rstrip("=")


def read_cursor(listing: str, text: str, *kinds: type) -> list[Any]:
    """The place again, a value of each kind. Raises Invalid for one that was changed, or is of another listing."""
    with suppress(ValueError):
        padded = text[:_MAX_CHARACTERS] + "=" * (-len(text) % 4)
        read = base64.b64decode(padded, altchars="-_", validate=True)
        mark, written = read[:_MARK_BYTES], read[_MARK_BYTES:]
        if mark == _mark(listing, written):
            place = json.loads(written)
            if isinstance(place, list) and _is_place(place, kinds):
                return place
    raise Invalid("cursor", "it is not one that this listing gave", hint="begin without it")


def _is_place(values: list[Any], kinds: tuple[type, ...]) -> bool:
    return tuple(map(type, values)) == kinds and all(map(_is_storable, values))


def _is_storable(value: str | int) -> bool:
    """Whether the server can compare with it: the mark is no secret, anybody may have written it."""
    if isinstance(value, str):
        return storable("cursor", value) == value
    return abs(value) <= _MAX_BIGINT


def _mark(listing: str, written: bytes) -> bytes:
    """No secret: it tells a mistake, and who makes a cursor of his own sees nothing that a listing does not show."""
    key = blake2b(listing.encode(errors="surrogatepass")).digest()
    return blake2b(written, digest_size=_MARK_BYTES, key=key).digest()

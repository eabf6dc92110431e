"""What an object store complains about, in a line and without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from dbctl.errors import Failed

_HINT = (
    "see backup.storage.* and the credentials: AWS_…, GOOGLE_…, AZURE_… variables, or backup.storage.profile"
)
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
# Addresses say where, and may hold a signature.
_NOISE = re.compile(r"Error performing [A-Z]+ \S+ in \S+?,? |after \d+ retries, max_retries: .*?s  ?- |\?\S+")
_LONGEST = 300


@contextmanager
def errors_of(place: str, verb: str) -> Iterator[None]:
    """Raise what the store says as Failed: the code and the message of its answer, never the whole of it."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise Failed(f"can't {verb} the backup target {place}", why=_reason(str(error)), hint=_HINT) from None


def _reason(text: str) -> str:
    code, message, status = _CODE.search(text), _MESSAGE.search(text), _STATUS.search(text)
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    if status:
        return status[1].strip()
    line = _NOISE.sub("", text.partition("\n")[0])
    return line[:_LONGEST]

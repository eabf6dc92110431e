"""Authenticates what dbctl writes beside an archive: whoever lacks the key can't put another one in its place."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbctl.errors import Corrupt, SettingsError

_FIELD = "seal"
_LEAST_BYTES = 32


def read_key(path: Path | None) -> bytes | None:
    """The secret in the file, without blanks around it; None where no file is named. Raises SettingsError."""
    if path is None:
        return None
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            "the key that seals manifests can't be read",
            why=f"{path}: {error.strerror}",
            hint="mend backup.seal_key",
        ) from error
    if len(key) < _LEAST_BYTES:
        raise SettingsError(
            "the key that seals manifests is too short",
            why=f"{path} holds {len(key)} bytes, fewer than {_LEAST_BYTES}",
            hint=f"make one: `openssl rand -hex {_LEAST_BYTES} > {path}`",
        )
    return key


def sealed(data: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    """The data, which JSON can hold, with a seal over all of it (HMAC-SHA-256); without a key, as it is."""
    return {**data, _FIELD: _seal(data, key)} if key else dict(data)


def check_seal(data: Mapping[str, Any], key: bytes | None) -> None:
    """Raise Corrupt unless the data was sealed with that key; without a key all is believed.

    What was parsed is what is compared, so that no second reading of the same text can slip through.
    """
    if key is None:
        return
    seal = data.get(_FIELD)
    rest = {name: value for name, value in data.items() if name != _FIELD}
    if not isinstance(seal, str):
        raise Corrupt("no seal", why="it was written without backup.seal_key")
    if not hmac.compare_digest(seal.encode(), _seal(rest, key).encode()):
        raise Corrupt("a wrong seal", why="its seal is not of our backup.seal_key: forged, or changed")


def _seal(data: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"hmac-sha256:{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"

"""The manifest: written last, read with suspicion."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, TypeVar, get_type_hints

from dbctl.backup.model import FORMAT_VERSION, Extension, Facts, Locale, Manifest, TableRows
from dbctl.errors import Corrupt

MANIFEST_NAME = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCALARS = (str, int, float)

T = TypeVar("T")


def render_manifest(manifest: Manifest) -> str:
    """The manifest as JSON: times in RFC 3339 UTC, sizes in bytes, durations in seconds."""
    return json.dumps(asdict(manifest), ensure_ascii=False, indent=2, default=_time) + "\n"


def parse_manifest(text: str, backup_id: str) -> Manifest:
    """What ``render_manifest`` wrote. Raises Corrupt for anything else; unknown keys are left for the future."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _broken(backup_id, f"not JSON: {error}") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise _broken(backup_id, "no format_version in it")
    if version > FORMAT_VERSION:
        raise Corrupt(
            f"backup {backup_id} has a manifest that this dbctl can't read",
            why=f"it is of format {version}, the newest known here is {FORMAT_VERSION}",
            hint="use the dbctl that wrote it, or a newer one",
        )
    try:
        manifest = _manifest(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(backup_id, _reason(error)) from None
    _check(manifest, backup_id)
    return manifest


def _manifest(data: Mapping[str, Any]) -> Manifest:
    times = {
        name: datetime.fromisoformat(data[name]).astimezone(UTC) for name in ("created_at", "finished_at")
    }
    return _build(Manifest, {**data, **times, "notes": tuple(data["notes"]), "facts": _facts(data["facts"])})


def _facts(data: Mapping[str, Any]) -> Facts:
    return Facts(
        locale=_build(Locale, data["locale"]),
        alembic_revisions=tuple(data["alembic_revisions"]),
        roles=tuple(data["roles"]),
        extensions=tuple(_build(Extension, one) for one in data["extensions"]),
        tables=tuple(_build(TableRows, one) for one in data["tables"]),
    )


def _build(kind: type[T], data: Mapping[str, Any]) -> T:
    hints = get_type_hints(kind)
    known = {field.name: data[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in known.items():
        if hints[name] in _SCALARS and (not isinstance(value, hints[name]) or isinstance(value, bool)):
            raise TypeError(f"{name} is no {hints[name].__name__}")
    return kind(**known)


def _check(manifest: Manifest, backup_id: str) -> None:
    archive = manifest.archive
    if PurePath(archive).name != archive or archive in {"", "..", MANIFEST_NAME} or "\0" in archive:
        raise _broken(backup_id, f"its archive {archive!r} is not the name of a file beside it")
    if manifest.id != backup_id:
        raise _broken(backup_id, f"it belongs to backup {manifest.id!r}")
    if not _SHA256.fullmatch(manifest.sha256) or manifest.size_bytes < 0:
        raise _broken(backup_id, "its size or its SHA-256 is none")


def _broken(backup_id: str, why: str) -> Corrupt:
    return Corrupt(
        f"the manifest of backup {backup_id} is broken", why=why, hint="choose another: `dbctl backup list`"
    )


def _reason(error: Exception) -> str:
    return f"no {error.args[0]} in it" if isinstance(error, KeyError) else str(error)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""The manifest and what is recorded beside it: written last, read with suspicion."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar, get_type_hints

from dbctl.backup.model import (
    FORMAT_VERSION,
    Extension,
    Facts,
    LargeObjects,
    Locale,
    Manifest,
    Member,
    Proof,
    Selection,
    SequenceSpan,
    TableRows,
)
from dbctl.backup.naming import MANIFEST_NAME, PROOF_NAME
from dbctl.backup.seal import check_seal, sealed
from dbctl.errors import Corrupt

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCALARS = (str, int, float)
_DEEPEST = 2

T = TypeVar("T")


def render(record: Manifest | Proof, key: bytes | None = None) -> str:
    """As JSON: times in RFC 3339 UTC, sizes in bytes, durations in seconds; sealed where there is a key."""
    data = json.loads(json.dumps(asdict(record), default=_time))
    return json.dumps(sealed(data, key), ensure_ascii=False, indent=2) + "\n"


def parse_manifest(text: str, backup_id: str, key: bytes | None = None) -> Manifest:
    """What ``render`` wrote. Raises Corrupt for anything else; unknown keys are left for the future."""
    data = _object(text, backup_id)
    version = data.get("format_version")
    if not isinstance(version, int):
        raise _broken(backup_id, "no format_version in it")
    if version > FORMAT_VERSION:
        raise Corrupt(
            f"backup {backup_id} has a manifest that this dbctl can't read",
            why=f"it is of format {version}, the newest known here is {FORMAT_VERSION}",
            hint="use the dbctl that wrote it, or a newer one",
        )
    _authenticate(data, backup_id, key)
    try:
        manifest = _manifest(data if version > 1 else _lifted(data))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _broken(backup_id, _reason(error)) from None
    _check(manifest, backup_id)
    return manifest


def parse_proof(text: str, backup_id: str, key: bytes | None = None) -> Proof:
    """What ``render`` wrote of a proof. Raises Corrupt."""
    data = _object(text, backup_id)
    _authenticate(data, backup_id, key)
    try:
        checked_at = datetime.fromisoformat(data["checked_at"]).astimezone(UTC)
        several = {name: tuple(data[name]) for name in ("problems", "notes")}
        proof = _build(Proof, {**data, "checked_at": checked_at, **several})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _broken(backup_id, _reason(error)) from None
    if proof.backup_id != backup_id:
        raise _broken(backup_id, f"its proof belongs to backup {proof.backup_id!r}")
    return proof


def archive_members(manifest: Manifest) -> tuple[Member, ...]:
    """The files of the archive: one, or those of its folder."""
    name = manifest.archive
    return tuple(one for one in manifest.members if one.name == name or one.name.startswith(f"{name}/"))


def sum_of(members: Iterable[Member]) -> tuple[int, str]:
    """The size and the SHA-256 of an archive: of its file, or of its files' sums as sha256sum writes them."""
    files = sorted(members, key=lambda one: one.name)
    if len(files) == 1 and "/" not in files[0].name:
        return files[0].size_bytes, files[0].sha256
    listing = "".join(f"{one.sha256}  {one.name}\n" for one in files)
    return sum(one.size_bytes for one in files), hashlib.sha256(listing.encode()).hexdigest()


def _object(text: str, backup_id: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(backup_id, f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _broken(backup_id, "no format_version in it")
    return data


def _authenticate(data: Mapping[str, Any], backup_id: str, key: bytes | None) -> None:
    try:
        check_seal(data, key)
    except Corrupt as error:
        raise _broken(backup_id, error.why) from None


def _lifted(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A manifest of format 1, as format 2 says it."""
    member = {"name": data["archive"], "size_bytes": data["size_bytes"], "sha256": data["sha256"]}
    return {**data, "members": [member], "encrypted_to": [], "selection": None}


def _manifest(data: Mapping[str, Any]) -> Manifest:
    times = {
        name: datetime.fromisoformat(data[name]).astimezone(UTC) for name in ("created_at", "finished_at")
    }
    chosen = data["selection"]
    parts = {
        "members": tuple(_build(Member, one) for one in data["members"]),
        "selection": chosen and Selection(*(tuple(chosen[one.name]) for one in fields(Selection))),
        "encrypted_to": tuple(data["encrypted_to"]),
        "notes": tuple(data["notes"]),
        "facts": _facts(data["facts"]),
    }
    return _build(Manifest, {**data, **times, **parts})


def _facts(data: Mapping[str, Any]) -> Facts:
    large = data.get("large_objects")
    return Facts(
        locale=_build(Locale, data["locale"]),
        alembic_revisions=tuple(data["alembic_revisions"]),
        roles=tuple(data["roles"]),
        extensions=tuple(_build(Extension, one) for one in data["extensions"]),
        tables=tuple(_build(TableRows, one) for one in data["tables"]),
        large_objects=_build(LargeObjects, large) if large else None,
        size_bytes=int(data.get("size_bytes", 0)),
        collations=tuple(data.get("collations", ())),
        sequences=tuple(_build(SequenceSpan, one) for one in data.get("sequences", ())),
    )


def _build(kind: type[T], data: Mapping[str, Any]) -> T:
    hints = get_type_hints(kind)
    known = {
        one.name: data[one.name]
        for one in fields(kind)  # type: ignore[arg-type]
        if one.default is MISSING or one.name in data
    }
    for name, value in known.items():
        if hints[name] in _SCALARS and (not isinstance(value, hints[name]) or isinstance(value, bool)):
            raise TypeError(f"{name} is no {hints[name].__name__}")
        if hints[name] is bool and not isinstance(value, bool):
            raise TypeError(f"{name} is no bool")
    return kind(**known)


def _check(manifest: Manifest, backup_id: str) -> None:
    if manifest.id != backup_id:
        raise _broken(backup_id, f"it belongs to backup {manifest.id!r}")
    for one in manifest.members:
        if not _is_beside(one.name):
            raise _broken(backup_id, f"its member {one.name!r} is not the name of a file beside it")
        if not _SHA256.fullmatch(one.sha256) or one.size_bytes < 0:
            raise _broken(backup_id, "its size or its SHA-256 is none")
    archive = archive_members(manifest)
    if not archive:
        raise _broken(backup_id, f"its archive {manifest.archive!r} is none of its members")
    if len({one.name for one in manifest.members}) < len(manifest.members):
        raise _broken(backup_id, "two of its members have one name")
    if sum_of(archive) != (manifest.size_bytes, manifest.sha256):
        raise _broken(backup_id, "its size or its SHA-256 is not that of its archive's members")


def _is_beside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    plain = "/".join(parts) == name and "\0" not in name and not name.startswith("/")
    return (
        plain and 0 < len(parts) <= _DEEPEST and ".." not in parts and name not in {MANIFEST_NAME, PROOF_NAME}
    )


def _broken(backup_id: str, why: str) -> Corrupt:
    return Corrupt(
        f"the manifest of backup {backup_id} is broken", why=why, hint="choose another: `dbctl backup list`"
    )


def _reason(error: Exception) -> str:
    return f"no {error.args[0]} in it" if isinstance(error, KeyError) else str(error)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""A plan in a file: written for our eyes only, and checked against the target before it is used."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from dbctl.errors import SettingsError
from dbctl.migrate.plan.fingerprint import differences, hash_file
from dbctl.migrate.plan.model import FORMAT_VERSION, Fingerprint, Plan, State, TableFacts
from dbctl.migrate.plan.survey import Survey
from dbctl.migrate.plan.weigh import Scales
from dbctl.migrate.plan.words import bytes_text
from dbctl.migrate.site import Site
from dbctl.migrate.status import read_standing

_AGAIN = "`dbctl migrate plan --out FILE` makes a new one"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a saved plan says of itself: what it was made for, what it would run, in its order, and its dangers.

    ``relies_on`` are the tables whose state made a finding harmless.
    """

    environment: str
    database: str
    created_at: datetime
    target: tuple[str, ...]
    revisions: tuple[str, ...]
    dangers: tuple[str, ...]
    fingerprint: Fingerprint
    small_table_bytes: int
    relies_on: frozenset[tuple[str, State]]


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a saved plan still fits its target; ``reasons`` say why it does not."""

    saved: Saved
    reasons: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether `up` would find what the plan was made for."""
        return not self.reasons


def check_file(file: Path) -> None:
    """Raise SettingsError, before any work is done, where a plan could not be saved."""
    folder = file.resolve().parent
    if file.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        why = "it is a folder" if file.is_dir() else f"no folder {folder}, or none that we may write to"
        raise SettingsError(
            f"can't write --out {str(file)!r}", why=why, hint="name a file in a folder of yours"
        )


def save(plan: Plan, file: Path) -> None:
    """Write the plan as JSON, whole or not at all, readable by us alone: it holds SQL and names of people.

    Raises SettingsError where the file can't be written.
    """
    text = json.dumps(asdict(plan), default=_plain, ensure_ascii=False, indent=2)
    try:
        _replace(file.resolve(), text + "\n")
    except OSError as error:
        raise SettingsError(
            f"can't write --out {str(file)!r}", why=error.strerror or str(error), hint="name another file"
        ) from error


def load(file: Path) -> Saved:
    """Read a saved plan. Raises SettingsError for a file that is none, or of another version of dbctl's."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        version = told["format_version"]
        if version == FORMAT_VERSION:
            return _saved(told)
    except OSError as error:
        raise SettingsError(f"can't read {file}", why=error.strerror or str(error), hint=_AGAIN) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{file} is no saved plan", why=type(error).__name__, hint=_AGAIN) from error
    raise SettingsError(
        f"{file} was saved in another format",
        why=f"its format is {version}, this dbctl reads {FORMAT_VERSION}",
        hint=_AGAIN,
    )


async def check_saved(file: Path, site: Site, environment: str) -> Fit:
    """Compare a saved plan with the project and with the site's database as they are now.

    The plan fits as long as its revision files, env.py, the heads, the server's major version, the session's
    settings and the catalog of all that it touches are the same, and tables are as small or empty as a finding was
    forgiven for. Raises what `load` and `read_status` raise.
    """
    saved = load(file)
    status, graph = await read_standing(site)
    survey = Survey(site)
    relations, objects = await survey.digests()
    server = await survey.server()
    now = Fingerprint(
        revisions={
            one.id: hash_file(one.path) for one in graph.revisions if one.id in saved.fingerprint.revisions
        },
        environment=hash_file(site.project.env_py),
        catalog={name: relations.get(name, "") for name in saved.fingerprint.catalog},
        objects=objects,
        settings=dict(server.settings),
        server_major=server.major,
        current=status.current,
    )
    reasons = [*_elsewhere(saved, environment, site.address.database), *_changes(saved.fingerprint, now)]
    if not reasons and saved.relies_on:
        reasons += _grown(saved, await survey.facts(list(saved.fingerprint.catalog)))
    return Fit(saved, tuple(reasons))


def _elsewhere(saved: Saved, environment: str, database: str) -> Iterator[str]:
    if (saved.environment, saved.database) != (environment, database):
        yield f"it was made for {saved.environment}, database {saved.database}"


def _changes(before: Fingerprint, now: Fingerprint) -> Iterator[str]:
    if before.current != now.current:
        yield f"the database is at {', '.join(now.current) or 'base'}, not at {', '.join(before.current) or 'base'}"
    yield from differences("the file of revision", before.revisions, now.revisions)
    if before.environment != now.environment:
        yield "env.py changed"
    if before.server_major != now.server_major:
        yield f"the server is PostgreSQL {now.server_major}, it was {before.server_major}"
    yield from differences("the session's setting", before.settings, now.settings)
    yield from differences("relation", before.catalog, now.catalog)
    if before.objects != now.objects:
        yield "a function, type, extension, schema or publication changed"


def _grown(saved: Saved, facts: Iterable[TableFacts]) -> Iterator[str]:
    by_name = {one.name: one for one in facts}
    scales = Scales(saved.small_table_bytes)
    for name, state in sorted(saved.relies_on):
        now = by_name.get(name)
        if now is None or not scales.is_still(state, now):
            size = (
                "of a size that can't be read" if now is None else f"{bytes_text(now.table_bytes or 0)} now"
            )
            yield f"table {name} was {state} and is {size}"


def _saved(told: Mapping[str, Any]) -> Saved:
    given = told["fingerprint"]
    values = {field.name: given[field.name] for field in fields(Fingerprint)}
    return Saved(
        environment=told["environment"],
        database=told["database"],
        created_at=datetime.fromisoformat(told["created_at"]),
        target=tuple(told["target"]),
        revisions=tuple(one["revision"] for one in told["revisions"]),
        dangers=tuple(told["dangers"]),
        fingerprint=Fingerprint(**{**values, "current": tuple(values["current"])}),
        small_table_bytes=told["small_table_bytes"],
        relies_on=frozenset((name, state) for one in told["revisions"] for name, state in one["relies_on"]),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Enum):
        return value.value
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def _replace(path: Path, text: str) -> None:
    # mkstemp makes it readable for us alone, whatever the umask.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise

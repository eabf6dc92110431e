"""Writes a backup: one snapshot, hashed in flight, in every target at once, visible only when it is complete."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dbctl import __version__
from dbctl.backup.alongside import time_limit
from dbctl.backup.connections import patient
from dbctl.backup.dump import Dump, Dumped
from dbctl.backup.encryption import parse_recipients
from dbctl.backup.manifest import archive_members, sum_of
from dbctl.backup.model import FORMAT_VERSION, Backup, Manifest, Progress, Request, Say, ignore
from dbctl.backup.naming import new_id
from dbctl.backup.repository import Repository, stage_in
from dbctl.backup.staging import Copies, Copy, Staged
from dbctl.database import Target
from dbctl.errors import Busy, DbctlError
from dbctl.postgres.locks import advisory_lock
from dbctl.postgres.tasks import surely
from dbctl.settings import BackupSettings


@dataclass(frozen=True, slots=True)
class Created:
    """A new backup, the repositories that hold it, and by their place the others with what went wrong there."""

    backup: Backup
    holders: tuple[Repository, ...]
    failures: Mapping[str, DbctlError]


async def create_backup(
    target: Target,
    repositories: Sequence[Repository],
    settings: BackupSettings,
    request: Request | None = None,
    *,
    progress: Progress = ignore,
    say: Say = ignore,
) -> Created:
    """Dump the target's database once, into every repository; ``progress`` takes the bytes written so far.

    One run at a time in each and on the database: else Busy. A repository that fails is left out, the backup
    is good in the others; with the last one all has failed. On any failure, and on cancellation, no half
    backup is left. Raises Refused for what could only be dumped in part.
    """
    request = request or Request()
    # Wrong keys, or no pyrage, end it here: nothing is ever written in the clear instead.
    recipients = tuple(parse_recipients(settings.encrypt_to)) if settings.encrypt_to else ()
    by_copy = {Copy(one.storage, one.key): one for one in repositories}
    copies = Copies(tuple(by_copy))
    with ExitStack() as stack:
        copies.each(lambda one: stack.enter_context(one.storage.exclusive()))
        async with time_limit(settings.timeout, "the backup"), _only_run(target):
            started, clock = datetime.now(UTC), time.monotonic()
            with stage_in(copies, new_id(started)) as staged:
                dump = Dump(target, staged, settings, request, recipients, progress)
                dumped = await _patiently(dump, say)
                manifest = _manifest(target, staged, dumped, started, clock)
                manifest = replace(manifest, encrypted_to=settings.encrypt_to)
                backup = await surely(staged.call(staged.publish, manifest))
    for note in dumped.notes:
        say(f"note: {note}")
    failures = {one.storage.place: one.failure for one in copies.failed if one.failure}
    return Created(backup, tuple(by_copy[one] for one in copies.live), failures)


@asynccontextmanager
async def _only_run(target: Target) -> AsyncIterator[None]:
    async with (
        patient(target) as database,
        database.connect() as connection,
        advisory_lock(connection, "dbctl backup"),
    ):
        yield


async def _patiently(dump: Dump, say: Say) -> Dumped:
    """Begin anew, with a new snapshot, where a table's lock was not to be had."""
    for attempt in range(1, dump.settings.attempts):
        try:
            return await dump.run()
        except Busy as error:
            say(f"{error.message}: attempt {attempt} of {dump.settings.attempts} ends, the next begins")
            await surely(dump.staged.call(dump.staged.discard))
    return await dump.run()


def _manifest(target: Target, staged: Staged, dumped: Dumped, started: datetime, clock: float) -> Manifest:
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        id=staged.id,
        environment=target.environment,
        database=target.conninfo.database,
        host=target.conninfo.place,
        server_version=dumped.server_version,
        client_version=dumped.client_version,
        dbctl_version=__version__,
        created_at=started,
        finished_at=datetime.now(UTC),
        duration_seconds=round(time.monotonic() - clock, 3),
        archive=dumped.archive,
        size_bytes=0,
        sha256="",
        compression=dumped.compression,
        encrypted_to=(),
        members=dumped.members,
        selection=dumped.selection,
        notes=dumped.notes,
        facts=dumped.facts,
    )
    size_bytes, sha256 = sum_of(archive_members(manifest))
    return replace(manifest, size_bytes=size_bytes, sha256=sha256)

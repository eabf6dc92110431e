"""Roles, their memberships and tablespaces: what belongs to the server and is in no dump of a database."""

from __future__ import annotations

from dbctl.backup.archive_tools import Tool, dbname_argument
from dbctl.database import Target
from dbctl.errors import ToolFailed, ToolMissing
from dbctl.postgres.client import run_tool
from dbctl.settings import BackupSettings

MEMBER_NAME = "globals.sql"


async def dump_globals(
    target: Target, pg_dump: Tool, settings: BackupSettings
) -> tuple[bytes, tuple[str, ...]]:
    """What `pg_dumpall --globals-only` says, and a note where it can't.

    Without the hashes of passwords, which only a superuser may read, unless the settings ask for them;
    then a failure is raised, else it is a note: a hosted server may keep its roles to itself.
    """
    said = bytearray()
    conninfo = await target.with_password()
    options = () if settings.role_passwords else ("--no-role-passwords",)
    try:
        await run_tool(
            pg_dump.path.with_name("pg_dumpall"),
            "--globals-only",
            "--no-password",
            f"--lock-wait-timeout={round(settings.lock_wait * 1000)}",
            f"--database={dbname_argument(conninfo.database)}",
            *options,
            environment=conninfo.libpq_environment(),
            password=conninfo.password,
            sink=said.extend,
        )
    except (ToolFailed, ToolMissing) as error:
        if settings.role_passwords:
            raise
        return b"", (f"roles and tablespaces are not in the backup: {error.why}",)
    return bytes(said), ()

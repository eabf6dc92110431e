"""A schema from one database into another, through pg_dump and pg_restore, on no disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dbctl.backup.alongside import together
from dbctl.backup.archive_tools import choose_tool, dbname_argument
from dbctl.database import Target
from dbctl.postgres.client import run_tool

_CHUNKS_AHEAD = 8
_PLAIN = ("--no-password", "--no-owner", "--no-acl")


async def copy_schema(source: Target, target: Target, schema: str, major: int) -> None:
    """Copy the schema with all that is in it, in one transaction of ``target``. Raises ToolFailed."""
    pg_dump, pg_restore = await choose_tool("pg_dump", major), await choose_tool("pg_restore", major)
    chunks: asyncio.Queue[bytes] = asyncio.Queue(_CHUNKS_AHEAD)
    there, here = await source.with_password(), await target.with_password()
    pattern = '"' + schema.replace('"', '""') + '"'

    async def dump() -> None:
        await run_tool(
            pg_dump.path,
            "--format=custom",
            "--compress=0",
            *_PLAIN,
            f"--schema={pattern}",
            f"--dbname={dbname_argument(there.database)}",
            environment=there.libpq_environment(),
            password=there.password,
            sink=chunks.put,
        )
        await chunks.put(b"")

    async def stream() -> AsyncIterator[bytes]:
        while chunk := await chunks.get():
            yield chunk

    async def restore() -> None:
        await run_tool(
            pg_restore.path,
            "--single-transaction",
            "--exit-on-error",
            *_PLAIN,
            f"--dbname={dbname_argument(here.database)}",
            environment=here.libpq_environment(),
            password=here.password,
            stdin=stream(),
        )

    await together(dump(), restore())

"""What was there before the first revision, for projects whose revisions do not start from an empty database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from dbctl.errors import UsageError
from dbctl.migrate.failure import message_of
from dbctl.migrate.trace.scratch import Scratch


def apply_baseline(scratch: Scratch, file: Path) -> None:
    """Run the SQL of a file, as `pg_dump --schema-only` writes it, in the scratch database. Raises UsageError."""
    try:
        # psql's own commands, which newer dumps begin and end with, are none of the server's.
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("\\")]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read --baseline {str(file)!r}", why=str(error)) from None
    observer = scratch.observer(scratch.address.database)
    try:
        with observer.begin() as connection:
            connection.exec_driver_sql("\n".join(lines).replace("%", "%%"))
    except SQLAlchemyError as error:
        raise UsageError(
            f"--baseline {str(file)!r} does not run on an empty database",
            why=message_of(error, None),
            hint="write it by `pg_dump --schema-only --no-owner --no-privileges`",
        ) from None
    finally:
        # A dump empties the session's search_path.
        observer.dispose()

"""What a backfill tells of itself while it runs: plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a backfill is. ``walked_rows`` counts the table's rows passed so far, earlier runs included.

    ``changed_rows`` are those that this run changed; ``table_rows`` is PostgreSQL's estimate (pg_class.reltuples),
    None where the table was never analysed. ``waits_for`` says why it rests just now, else empty.
    """

    table: str
    walked_rows: int
    changed_rows: int
    table_rows: int | None
    batch_rows: int
    batch_seconds: float
    elapsed_seconds: float
    waits_for: str = ""

    def __str__(self) -> str:
        total = f" of about {self.table_rows}" if self.table_rows else ""
        waits = f", waiting: {self.waits_for}" if self.waits_for else ""
        return f"backfill of {self.table}: {self.walked_rows}{total} rows walked, {self.changed_rows} changed{waits}"

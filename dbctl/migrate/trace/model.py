"""What revisions did on scratch, statement by statement: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dbctl.postgres.catalog.model import Relation, Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import Operation


@dataclass(frozen=True, slots=True)
class Lock:
    """A mode newly held on a relation that was there before the revision (pg_locks)."""

    relation: Relation
    mode: LockMode


@dataclass(frozen=True, slots=True)
class Scan:
    """A table that was read in full, and the rows read (pg_stat_get_xact_tuples_returned)."""

    relation: Relation
    rows: int


@dataclass(frozen=True, slots=True)
class Written:
    """Rows that a statement changed in a table that was there before the revision."""

    relation: Relation
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a statement failed. ``on_rows`` if it did so on synthetic rows only, and passes without them.

    ``timed_out`` if it was us who ended it, after the time that a revision has on scratch.
    """

    sqlstate: str
    message: str
    on_rows: bool = False
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Domain:
    """What a domain gives a column by itself; those that it is over are counted in."""

    default: str | None
    is_constrained: bool


@dataclass(frozen=True, slots=True)
class Hidden:
    """A statement that ran inside another (a DO block, a function), as an event trigger saw it."""

    sql: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a revision, and what the server did for it.

    ``sql`` is what the server parsed, with $1 for parameters, of which only the shapes are kept. ``held`` are
    the strongest modes that the transaction held *before* it on relations that were there before the revision;
    ``locks`` what it took in addition. ``before`` has the tables that it is about, by oid, as they were just
    before it ran; ``names`` resolves the names it uses (as written) to oids. Relations made by the same
    revision never appear in locks, scans, rewrites or writes; ``created`` are the oids of those that it made.
    ``domains`` are those among the types, as written, of columns that it adds.
    ``operations`` is empty where the parser does not know the syntax; ``hidden`` ran inside it.
    """

    number: int
    sql: str
    parameters: tuple[str, ...]
    executions: int
    file: Path | None
    line: int | None
    mode: Literal["transaction", "autocommit"]
    transaction: int
    duration_seconds: float
    operations: tuple[Operation, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    held: Mapping[int, LockMode] = field(default_factory=dict)
    locks: tuple[Lock, ...] = ()
    rewritten: tuple[Relation, ...] = ()
    rewrite_reasons: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    scanned: tuple[Scan, ...] = ()
    built: tuple[Relation, ...] = ()
    rebuilt: tuple[Relation, ...] = ()
    dropped: tuple[str, ...] = ()
    written: tuple[Written, ...] = ()
    created: frozenset[int] = frozenset()
    before: Mapping[int, Table] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def strongest(self) -> LockMode | None:
        """The strongest mode it newly took on tables and views (indexes left out)."""
        return max((lock.mode for lock in self.locks if not lock.relation.is_index), default=None)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A connection away from scratch that the revision asked for, was refused, and went on without."""

    said: str
    line: int | None
    is_database: bool


@dataclass(frozen=True, slots=True)
class Lacking:
    """An extension that the scratch server lacks, and the line whose statement about it was left out."""

    extension: str
    line: int | None


@dataclass(frozen=True, slots=True)
class RevisionTrace:
    """A traced revision. ``failure`` is the error it ended with, in the project's words, else empty.

    ``notes`` say what could not be judged, and why: rows that can't be made, a time limit, SQL not parsed.
    ``consequence_of`` names earlier revisions that failed, and extensions that were left out, where the failure
    looks like theirs.
    ``failed`` is the statement that failed on rows, where the run without rows never came to send it.
    ``publishing`` names, by schema, a publication that takes in every new table of it ("*": of any schema);
    ``keyless`` are the tables that had no primary key when it began. ``refusals`` are what it swallowed.
    ``lacking`` are the extensions that it was traced without.
    """

    revision: str
    message: str
    path: Path
    statements: tuple[Statement, ...]
    duration_seconds: float
    failure: Failure | None = None
    failed_line: int | None = None
    failed: Statement | None = None
    notes: tuple[str, ...] = ()
    seeded: frozenset[int] = frozenset()
    consequence_of: tuple[str, ...] = ()
    publishing: Mapping[str, str] = field(default_factory=dict)
    keyless: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    lacking: tuple[Lacking, ...] = ()

"""The keys of ``[health]``: how long a run may take, and the thresholds, a section a topic."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from dbctl.settings.types import Bytes, Names, Seconds, Section, Share


class TransactionSettings(Section):
    """How old a transaction may get."""

    idle_warning: Seconds = Field(60, description="idle in transaction")
    idle_critical: Seconds = 900
    long_warning: Seconds = Field(300, description="a statement, or a transaction at work")
    long_critical: Seconds = 6 * 3600
    prepared_warning: Seconds = Field(1, description="a prepared transaction that nobody ends")
    prepared_critical: Seconds = 300
    horizon_warning: int = Field(
        1_000_000, ge=1, description="transactions whose dead rows nobody may remove"
    )
    horizon_critical: int = Field(50_000_000, ge=1)


class LockSettings(Section):
    """How long a session may wait for a lock, and how full the table of locks may be."""

    wait_warning: Seconds = 1
    wait_critical: Seconds = 30
    table_warning: Share = 0.5
    table_critical: Share = 0.8


class ServerSettings(Section):
    """The server itself."""

    expect: Literal["primary", "standby"] = Field("primary", description="what it is meant to be")
    clock_warning: Seconds = Field(2, description="between the server's clock and ours")
    clock_critical: Seconds = 30
    crash_seconds: Seconds = Field(86_400, description="how long a crash is spoken of")
    minor_seconds: Seconds = Field(
        30 * 86_400, description="how long a minor release may wait to be installed"
    )
    limit_warning: Share = Field(0.8, description="of a role's or database's own CONNECTION LIMIT")
    rollback_warning: Share = Field(0.2, description="of the transactions between two samples")


class VacuumSettings(Section):
    """Wraparound, dead rows and the planner's statistics."""

    wraparound_warning: Share = Field(0.4, description="of the 2^31 ids that PostgreSQL has")
    wraparound_critical: Share = 0.75
    dead_rows: int = Field(10_000, ge=1, description="a table with fewer dead rows is well")
    dead_share: Share = Field(0.2, description="of a table's rows")
    stale_rows: int = Field(10_000, ge=1, description="a table with fewer changes is well")
    stale_factor: float = Field(3, ge=1, description="times what makes autovacuum analyze it")


class SequenceSettings(Section):
    """How much of its numbers a sequence, or the column that it fills, may have used up."""

    warning: Share = 0.75
    critical: Share = 0.9


class IndexSettings(Section):
    """Which indexes are not worth a finding."""

    unused_bytes: Bytes = Field(10 << 20, description="an unused index of fewer bytes is well")
    unused_days: float = Field(14, gt=0, description="how long the server must have counted before it tells")


class BloatSettings(Section):
    """How much of a table or index may be room that nothing fills."""

    bytes: Bytes = Field(20 << 20, description="less wasted room is well")
    share: Share = 0.5


class CacheSettings(Section):
    """Rates between two samples."""

    hit_warning: Share = Field(
        0.9, description="of the blocks asked for; fewer found in shared_buffers is slow"
    )
    hit_blocks: int = Field(
        10_000, ge=1, description="blocks read per second, below which the ratio says nothing"
    )
    temp_warning: Bytes = Field(10 << 20, description="bytes of temporary files a second")


class MemorySettings(Section):
    """When settings of memory are worth a finding."""

    large: Bytes = Field(8 << 30, description="tables, or all of work_mem, below which any setting is well")
    work_factor: float = Field(
        16, gt=0, description="times shared_buffers that all sessions' work_mem may be"
    )


class PartitionSettings(Section):
    """Partitions by time."""

    ahead: Seconds = Field(7 * 86_400, description="how long before the last one ends the next must be there")
    retired: Seconds = Field(
        30 * 86_400, description="since when the last one ended, so that nobody is taken to write"
    )


class QuerySettings(Section):
    """What pg_stat_statements counts between two samples."""

    share_warning: Share = Field(0.5, description="of the time of all statements, spent on one of them")
    busy: float = Field(0.5, gt=0, description="seconds of work a second, below which a share says nothing")


class ReplicationSettings(Section):
    """Standbys and subscribers: how far behind, how long gone, and how many there are meant to be."""

    standbys: int | None = Field(None, ge=1, description="how many must stream from this server")
    bytes_warning: Bytes = Field(100 << 20, description="of the log that a standby has not replayed yet")
    bytes_critical: Bytes = 1 << 30
    seconds_warning: Seconds = Field(60, description="how old what a standby shows may be")
    seconds_critical: Seconds = 600
    silent_warning: Seconds = Field(
        90, description="since the sender's last message to a standby or subscriber"
    )
    missing_seconds: Seconds = Field(86_400, description="how long a standby that went away is spoken of")


class SlotSettings(Section):
    """Replication slots: how much of the log one may keep, and for how long with nobody at it."""

    inactive_warning: Seconds = Field(300, description="a slot that nobody uses (17 tells since when)")
    share_warning: Share = Field(0.5, description="of max_slot_wal_keep_size, or of wal.disk")
    share_critical: Share = 0.8
    bytes_warning: Bytes = Field(4 << 30, description="kept by a slot where neither is set")
    bytes_critical: Bytes = 32 << 30
    lost_warning: Seconds = Field(86_400, description="until the slot is lost, or the disk full")
    lost_critical: Seconds = 3600


class WalSettings(Section):
    """The write-ahead log: its archive, its size, its checkpoints."""

    disk: Bytes | None = Field(None, ge=1, description="bytes of the disk that pg_wal is on: SQL can't tell")
    disk_warning: Share = 0.7
    disk_critical: Share = 0.9
    size_factor: float = Field(2, ge=1, description="times what the settings ask to be kept in pg_wal")
    ready_warning: int = Field(32, ge=1, description="segments that wait to be archived")
    ready_critical: int = Field(256, ge=1)
    requested_warning: Share = Field(0.5, description="of the checkpoints, as max_wal_size was reached")
    writes_warning: Share = Field(0.5, description="of the buffers written, by sessions themselves")
    writes_blocks: int = Field(1000, ge=1, description="a second, below which that share says nothing")


class Ignore(Section):
    """What is known, and is to be silent until a day: the objects of a check, by patterns such as ``public.old_*``."""

    check: str
    object: str = "*"
    because: Annotated[str, Field(min_length=1)]
    until: date | None = None


class HealthSettings(Section):
    """What the health checks may take, and from where on they find something."""

    skip: Names = Field((), description="checks, or topics of them, that are not run")
    ignore: tuple[Ignore, ...] = Field((), description="known findings: check, object, because, until")
    budget: Seconds = Field(5, gt=0, description="how long all checks may take; what is left over is UNKNOWN")
    check_timeout: Seconds = Field(2, gt=0, description="how long one check may take")
    lock_timeout: Seconds = Field(0.1, gt=0, description="how long a check may wait for a lock")
    latency_warning: Seconds = 0.5
    connections_warning: Share = 0.8
    connections_critical: Share = 0.9
    server: ServerSettings = ServerSettings.model_construct()
    transactions: TransactionSettings = TransactionSettings.model_construct()
    locks: LockSettings = LockSettings.model_construct()
    vacuum: VacuumSettings = VacuumSettings.model_construct()
    sequences: SequenceSettings = SequenceSettings.model_construct()
    indexes: IndexSettings = IndexSettings.model_construct()
    bloat: BloatSettings = BloatSettings.model_construct()
    cache: CacheSettings = CacheSettings.model_construct()
    memory: MemorySettings = MemorySettings.model_construct()
    partitions: PartitionSettings = PartitionSettings.model_construct()
    queries: QuerySettings = QuerySettings.model_construct()
    replication: ReplicationSettings = ReplicationSettings.model_construct()
    slots: SlotSettings = SlotSettings.model_construct()
    wal: WalSettings = WalSettings.model_construct()

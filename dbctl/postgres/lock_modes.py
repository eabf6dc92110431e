"""PostgreSQL's table-level lock modes: their order, and what each keeps waiting."""

from __future__ import annotations

from enum import StrEnum


class LockMode(StrEnum):
    """The modes of pg_locks, weakest first; a later one conflicts with at least as much."""

    ACCESS_SHARE = "AccessShareLock"
    ROW_SHARE = "RowShareLock"
    ROW_EXCLUSIVE = "RowExclusiveLock"
    SHARE_UPDATE_EXCLUSIVE = "ShareUpdateExclusiveLock"
    SHARE = "ShareLock"
    SHARE_ROW_EXCLUSIVE = "ShareRowExclusiveLock"
    EXCLUSIVE = "ExclusiveLock"
    ACCESS_EXCLUSIVE = "AccessExclusiveLock"

    # All four by hand: str has them already, so functools.total_ordering would leave its alphabetical ones.
    def __lt__(self, other: str) -> bool:
        return self._strength < LockMode(other)._strength

    def __le__(self, other: str) -> bool:
        return self._strength <= LockMode(other)._strength

    def __gt__(self, other: str) -> bool:
        return self._strength > LockMode(other)._strength

    def __ge__(self, other: str) -> bool:
        return self._strength >= LockMode(other)._strength

    @property
    def _strength(self) -> int:
        return list(LockMode).index(self)

    @property
    def blocks_reads(self) -> bool:
        """Whether a plain SELECT waits for it."""
        return self is LockMode.ACCESS_EXCLUSIVE

    @property
    def blocks_writes(self) -> bool:
        """Whether INSERT, UPDATE and DELETE wait for it."""
        return self >= LockMode.SHARE

    @property
    def blocks_ddl(self) -> bool:
        """Whether ALTER TABLE, VACUUM and CREATE INDEX CONCURRENTLY wait for it."""
        return self >= LockMode.SHARE_UPDATE_EXCLUSIVE

    def conflicts_with(self, other: LockMode) -> bool:
        """Whether a session waits for this mode while another holds ``other`` (the manual's table 13.2)."""
        return other in _CONFLICTS[self]


_CONFLICTS: dict[LockMode, frozenset[LockMode]] = {
    LockMode.ACCESS_SHARE: frozenset({LockMode.ACCESS_EXCLUSIVE}),
    LockMode.ROW_SHARE: frozenset({LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE}),
    LockMode.ROW_EXCLUSIVE: frozenset(mode for mode in LockMode if mode >= LockMode.SHARE),
    LockMode.SHARE_UPDATE_EXCLUSIVE: frozenset(
        mode for mode in LockMode if mode >= LockMode.SHARE_UPDATE_EXCLUSIVE
    ),
    LockMode.SHARE: frozenset(
        {
            LockMode.ROW_EXCLUSIVE,
            LockMode.SHARE_UPDATE_EXCLUSIVE,
            LockMode.SHARE_ROW_EXCLUSIVE,
            LockMode.EXCLUSIVE,
            LockMode.ACCESS_EXCLUSIVE,
        }
    ),
    LockMode.SHARE_ROW_EXCLUSIVE: frozenset(mode for mode in LockMode if mode >= LockMode.ROW_EXCLUSIVE),
    LockMode.EXCLUSIVE: frozenset(mode for mode in LockMode if mode >= LockMode.ROW_SHARE),
    LockMode.ACCESS_EXCLUSIVE: frozenset(LockMode),
}

"""Places in the write-ahead log, as SQL."""

from __future__ import annotations

# How far this server's log goes: on a standby what it received, which is what it sends on; what it replays from an
# archive was never received.
HERE = """CASE WHEN pg_is_in_recovery()
          THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END"""

"""Streaming replication: how far a server's log goes, as SQL, and how long either side may be silent."""

from __future__ import annotations

from dbctl.health.look import Look

# How far this server's log goes: on a standby what it received, which is what it sends on; what it replays from an
# archive was never received.
HERE = """CASE WHEN pg_is_in_recovery()
          THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END"""
_MILLI = 1000


async def sender_limit(look: Look) -> float:
    """For how many seconds a standby may send no reply: it does so by itself, and is cut off at wal_sender_timeout."""
    return max(look.settings.replication.silent_warning, await _timeout(look, "wal_sender_timeout"))


async def receiver_limit(look: Look) -> float | None:
    """For how many seconds a receiver may hear nothing; None: for ever, as with wal_receiver_timeout = 0 it never asks.

    From an idle primary it hears only the answers to that.
    """
    timeout = await _timeout(look, "wal_receiver_timeout")
    return max(look.settings.replication.silent_warning, timeout) if timeout else None


async def _timeout(look: Look, name: str) -> float:
    return int((await look.configured())[name]["setting"]) / _MILLI

"""A cascade of servers in tests of faults: what is done to it, and how it is looked at until it is as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dbctl.database import ConnInfo
from dbctl.health.look import Outside
from dbctl.health.model import CheckResult, Status
from dbctl.health.run import Request, check_health
from dbctl.health.samples import Samples
from tests.faults.test_sessions import alarms, until
from tests.fixtures.cascade import Cascade
from tests.fixtures.database import execute
from tests.fixtures.health import health, target

OURS = ("replication", "standby", "slots", "wal", "subscriptions", "incident")
PUSH = ("SELECT pg_logical_emit_message(true, 'x', 'x')", "SELECT pg_switch_wal()")
MB = 1 << 20
_ROUNDS = 600
_PAUSE_SECONDS = 0.1


def as_role(conninfo: ConnInfo, role: str) -> ConnInfo:
    """The same database, asked by another role."""
    return ConnInfo({**conninfo.keywords, "user": role})


def configure(conninfo: ConnInfo, **settings: str) -> None:
    """Change settings and wait until they are in force; "" takes a change back."""
    changes = [
        f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}"
        for name, value in settings.items()
    ]
    before = execute(conninfo, "SELECT pg_conf_load_time()")
    execute(conninfo, *changes, "SELECT pg_reload_conf()")
    until(lambda: execute(conninfo, "SELECT pg_conf_load_time()") != before)


@contextmanager
def configured(conninfo: ConnInfo, **settings: str) -> Iterator[None]:
    """With the settings, and as before afterwards, whoever took which of them back."""
    configure(conninfo, **settings)
    try:
        yield
    finally:
        configure(conninfo, **dict.fromkeys(settings, ""))


@contextmanager
def cut_off(three: Cascade) -> Iterator[None]:
    """The standby s1 does not reach the primary any more; afterwards it follows again."""
    senders = "SELECT 1 FROM pg_stat_replication WHERE application_name = 's1'"
    with configured(three.standby, primary_conninfo="host=/nowhere user=secret password=hidden"):
        until(lambda: not execute(three.primary, senders))
        yield
    until(lambda: execute(three.primary, senders))


@contextmanager
def paused(conninfo: ConnInfo) -> Iterator[None]:
    """Its replay stands still, unless it is resumed in between."""
    execute(conninfo, "SELECT pg_wal_replay_pause()")
    try:
        until(lambda: has_been_paused(conninfo))
        yield
    finally:
        execute(conninfo, "SELECT pg_wal_replay_resume()")


@contextmanager
def slot(primary: ConnInfo, name: str, reserve: str = "true") -> Iterator[None]:
    """A slot that nobody uses; it keeps the log from the last checkpoint on."""
    execute(primary, "CHECKPOINT", f"SELECT pg_create_physical_replication_slot('{name}', {reserve})")
    try:
        yield
    finally:
        dropping = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = "
        execute(primary, f"{dropping}'{name}'")


def push(primary: ConnInfo, segments: int) -> None:
    """Fill segments of the log, a megabyte each, and let the standby have them: only an unused slot is behind."""
    execute(primary, *PUSH * segments)
    end = execute(primary, "SELECT pg_current_wal_flush_lsn()")[0][0]
    caught_up = f"SELECT 1 FROM pg_replication_slots WHERE slot_name = 's1' AND restart_lsn >= '{end}'"
    until(lambda: execute(primary, caught_up))


def has_been_paused(conninfo: ConnInfo) -> bool:
    """Asked for it is at once; it is when what was begun is replayed."""
    new = execute(conninfo, "SHOW server_version_num")[0][0] >= "140000"
    return not new or bool(execute(conninfo, "SELECT 1 WHERE pg_get_wal_replay_pause_state() = 'paused'"))


async def ask(conninfo: ConnInfo, *names: str, **settings: object) -> dict[str, CheckResult]:
    """What the checks answer, with these settings of ``[health]``."""
    return await health(conninfo, *names, health=settings)


class Watch:
    """Runs one after another that compare their counters."""

    def __init__(self, conninfo: ConnInfo, *names: str, **settings: object) -> None:
        self.target = target(conninfo, health=settings)
        self.names, self.samples = names, Samples()

    async def look(self) -> dict[str, CheckResult]:
        report = await check_health(self.target, Outside(), Request(self.names), samples=self.samples)
        self.samples.turn()
        # Nearer together two samples are not compared.
        await asyncio.sleep(0.6)
        return {one.check: one for one in report.checks}

    async def calm(self) -> dict[str, CheckResult]:
        """The answers, as soon as there is no alarm among them."""
        for _ in range(_ROUNDS // 6):
            answers = await self.look()
            if not alarms(answers):
                return answers
        raise AssertionError(answers)


async def eventually(conninfo: ConnInfo, check: str, status: Status, **settings: object) -> CheckResult:
    """The check's answer, as soon as it is that."""
    return await _until(conninfo, check, lambda one: one.status is status, settings)


async def eventually_found(conninfo: ConnInfo, check: str, said: str, **settings: object) -> CheckResult:
    """The check's finding, however bad, as soon as it says that."""
    return await _until(conninfo, check, lambda one: one.found and said in one.message, settings)


async def _until(
    conninfo: ConnInfo, check: str, met: Callable[[CheckResult], bool], settings: dict[str, object]
) -> CheckResult:
    for _ in range(_ROUNDS):
        found = (await ask(conninfo, check, **settings))[check]
        if met(found):
            return found
        await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError(found)


async def well(three: Cascade, **settings: object) -> None:
    """No alarm on any of the three, as soon as it is so."""
    for one in three.all:
        for _ in range(_ROUNDS):
            answers = await ask(one, *OURS, **settings)
            if not alarms(answers):
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            raise AssertionError(answers)

"""Locks: who waits for whom, and how full the server's table of them is."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item
from dbctl.health.registry import check
from dbctl.health.results import findings, grade, judged, not_enough_data, ok, warning
from dbctl.health.sessions import PREPARED, Chain, by_pid, chains, named, told
from dbctl.health.words import lasting, some

# As the server makes room for them (storage/lmgr/lock.c). Fast-path locks take none of it.
_TABLE = """
SELECT (SELECT count(*) FROM pg_locks WHERE NOT fastpath) AS taken,
       current_setting('max_locks_per_transaction')::bigint
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) AS room
"""
_COUNTERS = """
SELECT quote_ident(datname) AS name, deadlocks, xact_commit, xact_rollback
  FROM pg_stat_database
 WHERE datname IS NOT NULL
"""
# Each new connection of SQLAlchemy's begins with one: ours, once a second under --watch, is one too.
_FEW_A_SECOND = 5.0


@check(profiles=("oncall", "deploy"), reads=("pg_locks", "pg_blocking_pids()", "pg_stat_activity"))
async def lock_waits(look: Look) -> Findings:
    """Sessions that others wait for, each the root of its chain: ending it lets all of them go on."""
    limits = look.settings.locks
    sessions = by_pid(await look.activity())
    items = []
    for chain in await chains(look):
        row = sessions.get(chain.root)
        state = f"{row['state']}: {told(row)}" if row and row["state"] else "of which this role sees no more"
        waits = f"{len(chain.waiting)} wait up to {lasting(chain.seconds)} for {some(chain.objects)}"
        items.append(
            Item(
                named(row) if row else _nameless(chain),
                grade(chain.seconds, warning=limits.wait_warning, critical=limits.wait_critical),
                f"{waits}; it is {state}" if row else waits,
                round(chain.seconds, 1),
                chain.since,
                fix=f"dbctl locks kill {chain.root}" if row else "ROLLBACK PREPARED; see pg_prepared_xacts",
            )
        )
    return findings(
        items,
        ("session blocks others", "sessions block others"),
        otherwise=ok(f"nobody waits {lasting(limits.wait_warning)} for a lock"),
        unit="s",
        warning=limits.wait_warning,
        critical=limits.wait_critical,
    )


@check(reads=("pg_locks", "max_locks_per_transaction"))
async def lock_table(look: Look) -> CheckResult:
    """How much of the table of locks is taken: once it is full, statements of everybody fail."""
    limits, table = look.settings.locks, await look.one(_TABLE)
    share = table["taken"] / table["room"]
    return judged(
        round(share * 100, 1),
        f"{table['taken']:,} of {table['room']:,} locks are taken",
        warning=limits.table_warning * 100,
        critical=limits.table_critical * 100,
        unit="%",
        fix="`dbctl locks` and pg_locks show who takes so many; or raise max_locks_per_transaction and restart",
    )


@check(reads=("pg_stat_database.deadlocks",), delta=True)
async def deadlocks(look: Look) -> CheckResult:
    """Transactions that PostgreSQL ended between two samples because they waited for each other."""
    moved = await look.change(_COUNTERS, ("name",))
    if moved is None:
        return not_enough_data()
    counts = {one.now["name"]: int(one.delta("deadlocks") or 0) for one in moved}
    found = tuple(name for name, count in counts.items() if count)
    number = sum(counts.values())
    if not number:
        return ok("no deadlock", 0)
    fix = "the server's log has both statements: let all transactions take their locks in one order"
    return warning(f"{number} deadlocks in {some(found)}", number, warning=1, objects=found, fix=fix)


@check(reads=("pg_stat_database.xact_rollback",), delta=True)
async def rollbacks(look: Look) -> CheckResult:
    """Which share of the transactions between two samples was rolled back: an application that fails a lot."""
    moved = await look.change(_COUNTERS, ("name",))
    if moved is None:
        return not_enough_data()
    back = sum(one.rate("xact_rollback") or 0 for one in moved)
    total = back + sum(one.rate("xact_commit") or 0 for one in moved)
    if back < _FEW_A_SECOND:
        return ok(f"{back:.1f} rollbacks a second", unit="%")
    return judged(
        round(back / total * 100, 1),
        f"{back / total:.0%} of {total:,.0f} transactions a second are rolled back",
        warning=look.settings.server.rollback_warning * 100,
        unit="%",
        fix="the server's log says which statements fail",
    )


def _nameless(chain: Chain) -> str:
    return "a prepared transaction" if chain.root == PREPARED else f"pid {chain.root}"

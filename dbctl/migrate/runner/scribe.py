"""Notes what a revision has done when it commits before its end, and leaves out what an earlier run has done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, ExceptionContext

from dbctl.errors import Refused
from dbctl.migrate.autocommit import commits_alone, is_left, is_open
from dbctl.migrate.marks import UNNOTED
from dbctl.migrate.model import Direction, Event, Repaired, Resumed
from dbctl.migrate.runner.pending import Open, Running, Unread
from dbctl.migrate.runner.reading import Reader, is_urgent, savepoint_left, savepoint_set
from dbctl.migrate.runner.replay import Replay, in_its_place, unclear
from dbctl.migrate.runner.steps import Noted, Step, StepsTable, digest
from dbctl.migrate.trace.asking import Asking

if TYPE_CHECKING:
    from dbctl.migrate.runner.acts import Act

# Of a loop that changes row by row nobody wants to keep the texts.
_MOST_UNREAD = 1000
Hear = Callable[[Event], None]


class Scribe:
    """Follows the revision in flight by SQLAlchemy's events.

    A statement that is committed while the revision's own code still runs is noted in its own transaction. At
    the next attempt the code runs again from its start; of what it says, SELECTs run, and what is noted does not.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._table: StepsTable | None = None
        self._may_note = False
        self._noted: dict[tuple[str, str], list[Noted]] = defaultdict(list)
        self._forget()

    def _forget(self) -> None:
        self._revision, self._direction = "", ""
        self._number = 0
        self._rows = self._written_last = 0
        # Whether the last of the rows is of a statement that was started.
        self.is_alone = self._is_removed = False
        self._replay: Replay | None = None
        self._reader = Reader()
        self._running: dict[int, Running | Unread] = {}
        # By the driver's connections: who asks for us.
        self._seen: dict[int, Connection] = {}
        self._open: dict[int, Open] = defaultdict(Open)
        self.is_unnoted = False
        self._in_body = False

    @property
    def done(self) -> int:
        """How many statements of the revision in flight are committed and noted."""
        return self._rows - self.is_alone

    @property
    def has_rows(self) -> bool:
        """Whether anything of it stays, be it a statement whose end nobody knows."""
        return self._rows > 0

    def opened(self, connection: Connection, schema: str) -> None:
        """A run begins: read what the last one has left, and whether we may write there."""
        self._table = StepsTable(schema)
        self._may_note, rows = self._table.find(Asking(connection))
        self._noted.clear()
        for row in rows:
            self._noted[row.revision, row.direction].append(row)

    def check_direction(self, direction: Direction) -> None:
        """Raise Refused where a revision is half way in the other direction."""
        for revision, other in self._noted:
            if other != direction:
                raise Refused(
                    f"revision {revision} is half way {other}: go on in that direction first",
                    why=f"its statements 1 to {len(self._noted[revision, other])} are done (dbctl_steps)",
                    hint=f"`dbctl migrate {other}` finishes it",
                )

    def forget(self, connection: Connection, revision: str | None) -> bool:
        """Let a revision run from its start again (None: all of them); False where nothing was noted of it."""
        keys = [key for key in self._noted if revision in (None, key[0])]
        for key in keys:
            assert self._table is not None  # noqa: S101 - what was read was read from it
            self._table.forget(Asking(connection), *key)
            del self._noted[key]
        return bool(keys)

    def begin(self, revision: str, direction: Direction) -> None:
        """The code of a revision is about to run."""
        self._forget()
        self._revision, self._direction, self._in_body = revision, str(direction), True
        noted = self._noted.pop((revision, self._direction), [])
        if noted:
            self._replay = Replay(revision, noted)
            self._number, self._rows = self._replay.numbered_to, len(noted)
            last = noted[-1]
            self.is_alone = last.state == "started"
            done = sum(one.state == "done" for one in noted)
            who = f"{last.by_role} on {last.from_host}"
            self._hear(Resumed(revision, done, last.noted_at, who, started=self.is_alone))

    def finish(self, connection: Connection) -> None:
        """Its code is over: what is noted of it goes in the transaction that writes the version row."""
        self._look_behind(connection)
        self._in_body = False
        if is_left(connection.connection.dbapi_connection):
            # The driver will say COMMIT, and nobody would have said BEGIN.
            Asking(connection).run("BEGIN")
        if self._rows and not commits_alone(connection):
            self._remove(connection)
            self._is_removed = True

    def leave(self) -> None:
        """Its code has failed: what comes now is not its own."""
        self._in_body = False

    def over(self, connection: Connection) -> None:
        """The version row is committed."""
        if self._rows and not self._is_removed:
            self._remove(connection)
        self._forget()

    def _remove(self, connection: Connection) -> None:
        assert self._table is not None  # noqa: S101 - begin comes after opened
        self._table.forget(Asking(connection), self._revision, self._direction)

    def before(self, connection: Connection, sql: str, parameters: Any, context: Any) -> tuple[str, Any]:
        """A statement is about to be sent: note it, or put another in its place where it was done before."""
        if not self._in_body or connection.get_execution_options().get(UNNOTED):
            return sql, parameters
        self._look_behind(connection)
        self._seen[id(connection.connection.dbapi_connection)] = connection
        formats = connection.dialect.paramstyle if parameters or not context.no_parameters else ""
        if self._may_stay_unread(connection, sql):
            self._running[id(context)] = Unread(sql, digest(sql, parameters), formats)
            return sql, parameters
        act = self._reader.act(sql, digest(sql, parameters), formats)
        if act.controls:
            self._controlled(connection, act)
        if not self._reader.is_to_be_noted(act):
            return sql, parameters
        return self._noting(connection, act, parameters, context)

    def _noting(self, connection: Connection, act: Act, parameters: Any, context: Any) -> tuple[str, Any]:
        from dbctl.migrate.runner.invalid import Repair
        from dbctl.migrate.runner.known import rowcount_of

        asking = Asking(connection)
        noted = self._replay.match(act.digest, act.shown) if self._replay else None
        is_autocommit = commits_alone(connection)
        repair = Repair(asking, lambda index: self._hear(Repaired(self._revision, index)))
        affected = rowcount_of(repair, act, noted, is_autocommit=is_autocommit)
        if noted and noted.state == "undone":
            return act.sql, parameters
        if affected is not None:
            self.is_alone &= not (noted and noted.state == "started")
            return in_its_place(affected, parameters)
        if is_autocommit and not noted:
            self._number += 1
        # One in a transaction gets its number, after those before it, when that is committed.
        step = Step(
            noted.number if noted else self._number if is_autocommit else 0,
            act.digest,
            act.is_data,
            act.returns_rows,
            act.shown,
        )
        running = Running(act, step)
        if is_autocommit and self._may_note:
            self._begin_alone(asking, running, is_noted=noted is not None)
        self.is_unnoted |= is_autocommit and not self._may_note
        self._running[id(context)] = running
        return act.sql, parameters

    def raw(self, driver: Any, sql: str, values: bool) -> None:
        """A statement is about to be sent through a cursor of the driver: what becomes of it, nobody will tell us."""
        if not self._in_body or not sql.strip("; \n\t"):
            return
        formats = "pyformat" if values else ""
        act = self._reader.act(sql, digest(sql, None), formats)
        if not self._reader.is_to_be_noted(act):
            return
        noted = self._replay.match(act.digest, act.shown) if self._replay else None
        if noted and noted.state != "undone":
            raise unclear(noted)
        connection = self._seen.get(id(driver))
        if not (driver.autocommit or is_left(driver)):
            self._open[id(driver)].steps.append(Unread(sql, act.digest, formats, state="started"))
            return
        self.is_unnoted = True
        if connection is not None and self._may_note:
            self._number += 1
            step = Step(self._number, act.digest, act.is_data, act.returns_rows, act.shown, state="started")
            self._write(Asking(connection), [step])

    def _may_stay_unread(self, connection: Connection, sql: str) -> bool:
        """Whether a statement may be read later, if at all: it ends no transaction, and finds no index of before."""
        if self._replay or commits_alone(connection) or is_urgent(sql):
            return False
        return len(self._of(connection).steps) < _MOST_UNREAD

    def _begin_alone(self, asking: Asking, running: Running, *, is_noted: bool) -> None:
        if running.act.is_wrappable:
            asking.run("BEGIN")
            running.wrapped = True
            return
        running.started = self.is_alone = True
        if not is_noted:
            self._write(asking, [replace(running.step, state="started")])

    def after(self, connection: Connection, cursor: Any, context: Any) -> None:
        """A statement has run."""
        running = self._running.pop(id(context), None)
        if running is None:
            return
        affected = max(int(cursor.rowcount), 0)
        if isinstance(running, Unread):
            self._of(connection).steps.append(replace(running, affected=affected))
            return
        asking = Asking(connection)
        step = replace(running.step, affected=affected)
        if running.wrapped:
            try:
                self._write(asking, [step])
                asking.run("COMMIT")
            except BaseException:
                self.not_committed()
                asking.undo()
                raise
        elif running.started:
            assert self._table is not None  # noqa: S101 - it was written there
            self._table.finish(asking, self._revision, self._direction, step)
            self.is_alone = False
        elif not commits_alone(connection):
            self._of(connection).steps.append(step)

    def failed(self, context: ExceptionContext) -> None:
        """A statement has failed."""
        running = self._running.pop(id(context.execution_context), None)
        connection = context.connection
        if running is None or connection is None or connection.closed or connection.invalidated:
            return
        asking = Asking(connection)
        if isinstance(running, Unread):
            self._of(connection).steps.append(replace(running, state="undone"))
        elif running.wrapped:
            asking.undo()
        elif not running.started:
            # A savepoint may have caught it: then it will come, and fail, at the next attempt too.
            self._of(connection).steps.append(replace(running.step, state="undone"))
        elif not (running.act.may_commit or running.act.may_leave_something) and self._table is not None:
            with suppress(Exception):
                self._table.forget(asking, self._revision, self._direction, running.step.number)
                self._rows -= 1
                self.is_alone = False

    def committing(self, connection: Connection) -> None:
        """The transaction is about to be committed: note in it what it has done."""
        if not self._in_body or commits_alone(connection):
            return
        self._written_last = 0
        opened = self._open.pop(id(connection.connection.dbapi_connection), None)
        steps = list(self._read(opened.steps)) if opened else []
        if steps and self._may_note:
            self._write(Asking(connection), steps)
        self.is_unnoted |= any(step.state == "started" or not self._may_note for step in steps)

    def _read(self, steps: Iterable[Step | Unread]) -> Iterator[Step]:
        """What is to be noted of a transaction's statements, numbered."""
        for one in steps:
            if isinstance(one, Step):
                self._number += not one.number
                yield replace(one, number=one.number or self._number)
                continue
            act = self._reader.act(one.sql, one.digest, one.formats)
            if self._reader.is_to_be_noted(act):
                self._number += 1
                read = Step(self._number, act.digest, act.is_data, act.returns_rows, act.shown)
                yield replace(read, affected=one.affected, state=one.state)

    def _look_behind(self, connection: Connection) -> None:
        """Notice that the driver's own commit, or rollback, has ended a transaction: nobody knows which."""
        driver = connection.connection.dbapi_connection
        opened = self._open.get(id(driver))
        if not (opened and opened.steps) or is_open(driver):
            return
        del self._open[id(driver)]
        steps = [
            replace(step, state="started") for step in self._read(opened.steps) if step.state != "undone"
        ]
        self.is_unnoted |= bool(steps)
        if steps and self._may_note:
            self._write(Asking(connection), steps)
            connection.connection.commit()

    def not_committed(self) -> None:
        """The commit that was about to come was refused, by a deferred constraint: its rows are gone with it."""
        self._rows -= self._written_last
        self._written_last = 0

    def rolled_back(self, connection: Connection) -> None:
        """What the transaction did did not happen."""
        if self._in_body and not connection.invalidated:
            self._open.pop(id(connection.connection.dbapi_connection), None)

    def savepoint(self, connection: Connection, name: str) -> None:
        """A savepoint was set."""
        if self._in_body:
            opened = self._of(connection)
            opened.savepoints[name] = len(opened.steps)

    def rolled_back_to(self, connection: Connection, name: str) -> None:
        """What was done since that savepoint did not happen."""
        if self._in_body and not connection.invalidated:
            opened = self._of(connection)
            place = opened.savepoints.get(name, 0)
            opened.steps[place:] = [replace(step, state="undone") for step in opened.steps[place:]]

    def _controlled(self, connection: Connection, act: Act) -> None:
        """COMMIT, ROLLBACK and savepoints that SQL says, past SQLAlchemy's own."""
        for action in act.controls:
            if action in ("commit", "prepare"):
                self.committing(connection)
            elif action == "rollback":
                self.rolled_back(connection)
            elif action == "rollback to" and (name := savepoint_left(act)):
                self.rolled_back_to(connection, name)
            elif name := savepoint_set(act):
                self.savepoint(connection, name)

    def _write(self, asking: Asking, steps: list[Step]) -> None:
        assert self._table is not None  # noqa: S101 - begin comes after opened
        self._table.write(asking, self._revision, self._direction, steps)
        self._rows += len(steps)
        self._written_last = len(steps)

    def _of(self, connection: Connection) -> Open:
        return self._open[id(connection.connection.dbapi_connection)]

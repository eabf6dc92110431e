"""One run of one command: its settings, its database, its questions and its result."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dbctl.cli import confirm
from dbctl.cli.options import Common
from dbctl.cli.output.streams import say
from dbctl.errors import Unreachable

if TYPE_CHECKING:
    from dbctl.cli.output.emit import View
    from dbctl.cli.output.progress import Report
    from dbctl.cli.recording import Recording
    from dbctl.database import Database, Target
    from dbctl.database.replicas import Reads
    from dbctl.settings import Loaded

EXIT_FOUND = 1


class Invocation:
    """What a command works with. It asks, says and emits, so that rooms need not."""

    def __init__(self, common: Common, recording: Recording | None = None) -> None:
        self.common = common
        self._recording = recording
        self.exit_code = 0
        self.found = ""
        if common.output is not None:
            from dbctl.cli.output.emit import check_output

            check_output(common.output)
        self._targets: dict[bool, Target] = {}
        self._confirmed = False

    @cached_property
    def loaded(self) -> Loaded:
        """The environment's settings. Raises SettingsError."""
        return self._load(needs_database=True)

    @cached_property
    def project_settings(self) -> Loaded:
        """The same for a command that needs no database: the defaults, where nobody wrote any."""
        return self._load(needs_database=False)

    @property
    def environment(self) -> str:
        """Its name, as far as it is known: the settings may be what is wrong."""
        loaded = self.__dict__.get("loaded") or self.__dict__.get("project_settings")
        return loaded.environment if loaded else self.common.env or os.environ.get("DBCTL_ENV") or ""

    def _load(self, *, needs_database: bool) -> Loaded:
        from dbctl.settings import load_settings

        loaded = load_settings(self.common.env, self.common.configs, needs_database=needs_database)
        for warning in loaded.warnings:
            self.say(f"warning: {warning}")
        return loaded

    async def target(self, *, direct: bool = False) -> Target:
        """The environment's database; ``direct``: past a pooler. Starts the embedded server where it is asked for."""
        if direct not in self._targets:
            from dbctl.database import resolve_target

            self._targets[direct] = await resolve_target(self.loaded, direct=direct)
        return self._targets[direct]

    @asynccontextmanager
    async def database(
        self, *, write: str = "", direct: bool = False, **changes: float
    ) -> AsyncIterator[Database]:
        """The open database; ``write`` says what will change, ``changes`` are keys of [database]."""
        if write:
            await self.announce_write(write)
        async with (await self.target(direct=direct)).open(application_name="dbctl", **changes) as database:
            if self.common.verbose:
                from dbctl.cli.verbose import show_statements

                show_statements(database.engine)
            yield database

    @asynccontextmanager
    async def reads(self, *, primary: bool, patience: float | None = None) -> AsyncIterator[Reads]:
        """Where a read may be answered: by the standbys of the settings too, unless ``primary``.

        ``patience`` in seconds takes the place of the settings' own for statements; 0 is without end.
        """
        from dbctl.database.replicas import Reads, open_reads

        settings = self.loaded.settings.database
        limits = {
            "statement_timeout": settings.statement_timeout if patience is None else patience,
            "command_timeout": settings.command_timeout if patience is None else patience,
        }
        async with self.database(write="", direct=False, **limits) as database:
            if primary:
                yield Reads(database, (), 0, self.say)
            else:
                async with open_reads(database, await self.target(), told=self._note, **limits) as reads:
                    yield reads

    def _note(self, text: str) -> None:
        self.say(f"note: {text}")

    async def announce_write(self, action: str, *, recorded: bool = True) -> None:
        """Say what is about to change where; a protected environment's name must be confirmed first.

        Not ``recorded``: what another program does, whose statements and whose end we don't see.
        """
        target = await self.target()
        self.say(f"{target}: {action}")
        if recorded:
            self.record(str(target.conninfo), action)
        if self.loaded.settings.protected:
            self.ask_name(target.environment, f"{action} in a protected environment")
            self._confirmed = True

    def record(self, place: str, action: str) -> None:
        """Note in the record of `dbctl audit` that ``place`` is about to change; how it ends is noted for itself."""
        if self._recording is not None:
            self._recording.begin(self, place, action)

    def elsewhere(self, environment: str) -> Invocation:
        """The same run in another environment."""
        return Invocation(replace(self.common, env=environment), self._recording)

    def ask(self, question: str) -> None:
        """y/N, for what can be undone. Raises Refused."""
        confirm.ask(question, yes=self.common.yes or self._confirmed)

    def ask_name(self, name: str, action: str) -> None:
        """The name of what is meant, for what can't be undone. Raises Refused.

        A protected environment's name, once given, stands for all that the command does there.
        """
        if not self._confirmed:
            confirm.ask_name(name, action, confirmed=self.common.confirm)

    def read_secret(self, prompt: str) -> str:
        """A secret from a hidden prompt, or from stdin's first line."""
        return confirm.read_secret(prompt)

    def say(self, text: str) -> None:
        """A line on stderr; silent under --quiet."""
        if not self.common.quiet:
            say(text)

    def emit(self, result: Any, view: View, *, always: bool = False) -> None:
        """The result: to stdout or the file of -o, in the form of --format.

        Under --quiet a table, which is for people, is not drawn, unless ``always``: what it holds is lost then.
        """
        from dbctl.cli.output.emit import emit

        if self._recording is not None:
            self._recording.result = result
        asked_for = always or self.common.format != "table" or self.common.output is not None
        if self.common.quiet and not asked_for:
            return
        emit(result, view, self.common.format, self.common.output)

    def verdict(self, ok: bool, *, reached: bool = True, found: str = "") -> None:
        """The exit code of a check: 0, 1 where it found something, 4 where the database was not reached.

        ``found`` says it in a line, for those who are shown no table and sent no report.
        """
        code = 0 if ok else EXIT_FOUND
        self._found(code if reached else Unreachable.exit_code, found)

    def monitored(self, severity: int, *, found: str = "") -> None:
        """The exit code of what a monitor asks: 1 where it is critical; Nagios has its own, 1 and 2."""
        critical = severity > EXIT_FOUND
        self._found(severity if self.common.format == "nagios" else int(critical), found)

    def _found(self, exit_code: int, line: str) -> None:
        self.exit_code, self.found = exit_code, line
        nothing_shown = self.common.format == "table" and self.common.output is None
        if exit_code and line and self.common.quiet and nothing_shown:
            # cron mails what is said, and a bare exit code to nobody.
            say(line)

    def progress(
        self, description: str, *, total: int | None = None, unit: str = ""
    ) -> AbstractContextManager[Report]:
        """A bar on a terminal; the report takes how much is done so far."""
        from dbctl.cli.output.progress import progress

        return progress(description, total=total, unit=unit, quiet=self.common.quiet)

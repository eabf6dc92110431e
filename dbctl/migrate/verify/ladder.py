"""Up, down, up: each revision of a range in place, and what was different afterwards."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dbctl.migrate.model import Direction, Revision, Step
from dbctl.migrate.rules.failures import FAILS
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.rules.reversal import (
    DOWNGRADE_DIFFERS,
    DOWNGRADE_FAILS,
    UPGRADE_DIFFERS,
    UPGRADE_FAILS_AGAIN,
)
from dbctl.migrate.rules.source import IRREVERSIBLE, LOSSY_DOWNGRADE, way_back
from dbctl.migrate.verify.content import Loss, find_losses, find_others
from dbctl.migrate.verify.ground import Catalogs, Contents, Ground
from dbctl.migrate.verify.steps import Broken
from dbctl.migrate.verify.words import different, found, lost, other
from dbctl.postgres.catalog.objects import Difference, differences

Progress = Callable[[Step], None]
_BRING_BACK = (
    "# Let downgrade() bring the values back: rename, or copy them before what holds them is dropped."
)
_MAKE_ALIKE = "# Let downgrade() undo what upgrade() does to the rows, or upgrade() change only those it has not changed yet."


@dataclass(slots=True)
class Ladder:
    """The climb over a range. ``findings`` are all that was found, ``notes`` by revision what is good to know."""

    ground: Ground
    revisions: Sequence[Revision]
    levels: Levels
    progress: Progress
    findings: list[Finding] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    verified: list[str] = field(default_factory=list)
    whole: bool = False

    def climb(self) -> None:
        """Run each revision up, down and up again, then all of them down and up in one go. Blocks."""
        self.ground.steps.run((), Direction.UP)
        if self.ground.scratch.databases:
            self.ground.keep()
        before = self.ground.catalogs()
        start = before
        for number, revision in enumerate(self.revisions, 1):
            path = revision.path
            self.progress(
                Step(number, len(self.revisions), Direction.UP, revision.id, revision.message, path)
            )
            before = self._rung(revision, before)
            self.verified.append(revision.id)
        if not self.findings and len(self.revisions) > 1:
            self._as_a_whole(start, before)
            self.whole = True

    def _rung(self, revision: Revision, before: Catalogs) -> Catalogs:
        """One revision; returns what there is after it."""
        ground = self.ground
        ground.fill()
        held = self._up(revision, before)
        if held is None:
            return ground.catalogs()
        ground.applied.append(revision.id)
        up = ground.catalogs()
        why, line = way_back(revision.path)
        is_empty = "empty" in why
        if why and not (is_empty and up == before):
            if _does_something(before, up, held, ground.contents()):
                self.findings += found(IRREVERSIBLE, revision, why, self.levels, line=line)
            return up
        return self._down(revision, before, up, held, line)

    def _up(self, revision: Revision, before: Catalogs) -> Contents | None:
        """The first upgrade, without rows where it fails on them; None: it fails in any case, and is only stamped.

        Returns what it found in the tables.
        """
        ground = self.ground
        held = ground.contents()
        broken = self._run(revision, Direction.UP)
        if broken is None:
            return held
        first = broken.failure.message
        if ground.catalogs() != before:
            ground.rebuild()
        ground.empty()
        held = ground.contents()
        broken = self._run(revision, Direction.UP)
        if broken is None:
            self._note(revision, f"upgrade() fails on made-up rows ({first}); it went on without them")
            return held
        self.findings += found(
            FAILS, revision, f"It says: {broken.failure.message}.", self.levels, line=broken.line
        )
        if ground.catalogs() != before:
            ground.rebuild()
        ground.applied.append(revision.id)
        ground.stamped.add(revision.id)
        ground.steps.run([revision.id], Direction.UP, only_stamped=ground.stamped)
        return None

    def _down(
        self, revision: Revision, before: Catalogs, up: Catalogs, held: Contents, line: int
    ) -> Catalogs:
        ground = self.ground
        between = ground.contents()
        first = ground.contents() if ground.fill() else between
        broken = self._run(revision, Direction.DOWN)
        if broken is not None:
            return self._not_down(revision, up, broken, line)
        after = ground.catalogs()
        losses = list(_losses(held, between, ground.contents()))
        for loss in losses:
            self.findings += found(
                LOSSY_DOWNGRADE, revision, lost(loss), self.levels, line=line, fix=_BRING_BACK
            )
        wrong = self._compare(revision, before, after)
        for one in wrong:
            self.findings += different(
                DOWNGRADE_DIFFERS, revision, one, self.levels, who="The downgrade", line=line
            )
        is_clean = not wrong
        broken = self._run(revision, Direction.UP)
        if broken is None and is_clean and not losses:
            self._same_data(revision, held, first, line)
        return self._again(revision, up, broken, is_clean=is_clean, line=line)

    def _same_data(self, revision: Revision, before: Contents, first: Contents, line: int) -> None:
        """Whether the second upgrade made of the rows what the first one made; not where the downgrade lost any."""
        if not any(list(find_others(content, content, first[name])) for name, content in before.items()):
            return
        second = self.ground.contents()
        for name, content in before.items():
            for one in find_others(content, first[name], second[name]):
                self.findings += found(
                    UPGRADE_DIFFERS, revision, other(one), self.levels, line=line, fix=_MAKE_ALIKE
                )

    def _again(
        self, revision: Revision, up: Catalogs, broken: Broken | None, *, is_clean: bool, line: int
    ) -> Catalogs:
        """After the second upgrade. Where the downgrade left something, whatever comes of it is no news."""
        ground = self.ground
        if broken is not None and is_clean:
            ground.empty()
            if self._run(revision, Direction.UP) is None:
                broken = None
        if broken is None:
            second = ground.catalogs()
            wrong = self._compare(revision, up, second)
            if not wrong:
                return up
            if is_clean:
                for one in wrong:
                    self.findings += different(
                        UPGRADE_DIFFERS, revision, one, self.levels, who="The second upgrade", line=line
                    )
        elif is_clean:
            self.findings += found(
                UPGRADE_FAILS_AGAIN,
                revision,
                f"It says: {broken.failure.message}.",
                self.levels,
                line=broken.line,
            )
        else:
            self._note(revision, f"a second upgrade() then fails: {broken.failure.message}")
        ground.rebuild()
        return ground.catalogs()

    def _not_down(self, revision: Revision, up: Catalogs, broken: Broken, line: int) -> Catalogs:
        """The downgrade ended with an error: is it the rows?"""
        ground = self.ground
        message = broken.failure.message
        if ground.catalogs() != up:
            ground.rebuild()
        ground.empty()
        second = self._run(revision, Direction.DOWN)
        said = f"It says: {message}."
        if second is None:
            said = f"It does so where tables have rows, and passes without: {message}."
        where = broken.line or line
        if second is None and _is_about_values(broken, revision):
            self._note(revision, f"downgrade() fails on made-up rows ({message}); it went on without them")
        elif broken.failure.message.startswith("NotImplementedError"):
            self.findings += found(IRREVERSIBLE, revision, said, self.levels, line=where)
        else:
            self.findings += found(DOWNGRADE_FAILS, revision, said, self.levels, line=where)
        if second is None and self._run(revision, Direction.UP) is None and ground.catalogs() == up:
            return up
        if second is None or ground.catalogs() != up:
            ground.rebuild()
        return ground.catalogs()

    def _as_a_whole(self, start: Catalogs, end: Catalogs) -> None:
        """All down and all up again, each way in one run of env.py."""
        ground, by_id = self.ground, {one.id: one for one in self.revisions}
        ground.fill()
        ids = [one.id for one in self.revisions]
        for direction, order, wanted in ((Direction.DOWN, ids[::-1], start), (Direction.UP, ids, end)):
            broken = ground.steps.run(order, direction, only_stamped=ground.stamped)
            way = "down" if direction is Direction.DOWN else "up again"
            if broken is not None:
                revision, hazard = (
                    by_id[broken.revision],
                    DOWNGRADE_FAILS if way == "down" else UPGRADE_FAILS_AGAIN,
                )
                said = f"It does so when all revisions run {way} in one go: {broken.failure.message}."
                self.findings += found(hazard, revision, said, self.levels, line=broken.line)
                return
            hazard = DOWNGRADE_DIFFERS if way == "down" else UPGRADE_DIFFERS
            for one in self._compare(self.revisions[0], wanted, ground.catalogs()):
                who = f"All revisions run {way} in one go"
                self.findings += different(hazard, self.revisions[0], one, self.levels, who=who, line=None)

    def _run(self, revision: Revision, direction: Direction) -> Broken | None:
        return self.ground.steps.run([revision.id], direction)

    def _compare(self, revision: Revision, before: Catalogs, after: Catalogs) -> tuple[Difference, ...]:
        all_: list[Difference] = []
        for database, catalog in before.items():
            compared = differences(catalog, after[database])
            all_ += compared.found
            for note in compared.notes:
                self._note(revision, f"there and back, {note}")
        return tuple(all_)

    def _note(self, revision: Revision, note: str) -> None:
        notes = self.notes.setdefault(revision.id, [])
        if note not in notes:
            notes.append(note)


def _is_about_values(broken: Broken, revision: Revision) -> bool:
    """Whether it was Python that could not do with made-up values, and not the server, nor the revision on purpose."""
    line = linecache.getline(str(revision.path), broken.line or 0).lstrip()
    return not (broken.failure.sqlstate or broken.failure.timed_out or line.startswith(("raise", "assert")))


def _losses(held: Contents, between: Contents, after: Contents) -> Iterator[Loss]:
    for database, content in held.items():
        yield from find_losses(content, between[database], after[database])


def _does_something(before: Catalogs, up: Catalogs, held: Contents, now: Contents) -> bool:
    """Whether there is anything to undo: a merge of branches makes nothing."""
    return before != up or held != now

"""A plugin for pytest: each revision of a project is a test that goes up, down and up again on scratch.

One line in the project's pytest settings: ``dbctl_alembic_ini = alembic.ini``. Then a plain ``pytest`` runs them
with the others, and ``pytest --dbctl-verify`` wherever it is told to look. Imports nothing until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dbctl.migrate.lint.request import Request
    from dbctl.migrate.project import Project
    from dbctl.migrate.verify.model import Verification


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our option and our settings."""
    parser.getgroup("dbctl").addoption(
        "--dbctl-verify",
        action="store_true",
        help="Run each Alembic revision up, down and up again on a throw-away PostgreSQL.",
    )
    parser.addini(
        "dbctl_alembic_ini", "The alembic.ini (or pyproject.toml) whose revisions are verified.", default=""
    )
    parser.addini("dbctl_verify_range", "Which of them, as for `dbctl migrate verify`.", default="base:heads")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for each revision, before others choose among all of them."""
    named = str(config.getini("dbctl_alembic_ini"))
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    if not (config.getoption("--dbctl-verify") or (named and everything)):
        return
    file = config.rootpath / (named or "alembic.ini")
    from dbctl.errors import DbctlError

    try:
        items.extend(_Revisions.from_parent(session, name=file.name, path=file).collect())
    except DbctlError as error:
        told = ": ".join(filter(None, (error.message, error.why)))
        raise pytest.UsageError(f"dbctl_alembic_ini: {told}") from None


class _Revisions(pytest.File):
    """The project's revisions; they are verified together, when the first of the tests runs."""

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each, an old one first."""
        from dbctl.migrate.revisions import read_graph

        for revision in read_graph(self.project).revisions:
            yield _Revision.from_parent(self, name=revision.id)

    @property
    def project(self) -> Project:
        """What the settings name. Raises SettingsError."""
        from dbctl.migrate.project import read_project

        return read_project(self.path)

    def report(self) -> Verification:
        """What was found in all of them; a run that could not be is not tried again."""
        import asyncio

        from dbctl.migrate.verify.run import verify_project

        made: Any = getattr(self, "_made", None)
        if made is None:
            try:
                made = asyncio.run(verify_project(self.project, self._request(), lambda _: None))
            except Exception as error:  # noqa: BLE001 - every test of the file says so
                made = error
            self._made = made
        if isinstance(made, Exception):
            raise made
        return made  # type: ignore[no-any-return]

    def _request(self) -> Request:
        from dbctl.migrate.lint.request import Request
        from dbctl.migrate.rules.levels import Levels
        from dbctl.migrate.trace.options import TraceOptions
        from dbctl.settings import load_settings

        ours = load_settings(None, None, needs_database=False).settings.migrate
        return Request(
            here=Path.cwd(),
            options=TraceOptions(time_limit_seconds=ours.revision_timeout, url_variables=ours.url_variables),
            levels=Levels(ours.levels),
            range=str(self.config.getini("dbctl_verify_range")),
        )


class FoundInRevision(Exception):
    """A revision does not go there and back; its text is all that there is to say."""


class _Revision(pytest.Item):
    """One revision."""

    def runtest(self) -> None:
        """Fail with what was found."""
        assert isinstance(self.parent, _Revisions)  # noqa: S101 - made by it
        report = self.parent.report()
        if self.name not in {one.revision for one in report.revisions}:
            pytest.skip(f"not among the {report.range}")
        if found := [one for one in report.findings if one.revision == self.name and not one.accepted]:
            raise FoundInRevision("\n\n".join(_told(one) for one in found))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The findings alone: no line of ours is of interest."""
        if isinstance(excinfo.value, FoundInRevision):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """How the test is named."""
        return self.path, None, f"revision {self.name}"


def _told(finding: Any) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else str(finding.file)
    parts: Sequence[str] = (
        f"{place}: {finding.hazard}: {finding.why}",
        finding.fix and f"instead:\n{finding.fix}",
    )
    return "\n".join(part for part in parts if part)

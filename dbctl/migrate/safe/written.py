"""Looks through the revisions that were just written: what is left to be decided by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbctl.errors import DbctlError
from dbctl.migrate.lint.ranges import BASE
from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.run import lint_project
from dbctl.migrate.model import Created
from dbctl.migrate.project import Project


async def find_hazards(
    project: Project, written: Sequence[Created], request: Request
) -> tuple[tuple[Created, ...], str]:
    """The same revisions, which build on each other, with what a lint finds in them.

    And why they could not be linted, empty where they were: they are written in any case.
    """
    if not written:
        return (), ""
    start = next(iter(written[0].down_revisions), BASE)
    try:
        report = await lint_project(
            project, replace(request, range=f"{start}:{written[-1].revision}"), lambda _: None
        )
    except DbctlError as error:
        return tuple(written), str(error)
    by_revision = {
        one.revision: tuple(each for each in report.findings if each.revision == one.revision)
        for one in written
    }
    return tuple(replace(one, findings=by_revision[one.revision]) for one in written), ""

"""What the diff as a whole shows: old revisions that were changed, code and schema that change together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dbctl.migrate.lint.ranges import Chosen
from dbctl.migrate.project import Project
from dbctl.migrate.rules.graph import MIXED_PR, at_revision
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding, Hazard

_TESTS = {"test", "tests"}


def changed_notes(chosen: Chosen) -> Iterator[str]:
    """A note for each older revision that does something else now, or is gone."""
    if chosen.changes is None:
        return
    since = chosen.changes.base
    for revision in chosen.changed:
        yield (
            f"{revision.id} was changed since {since}: databases that ran it do not run it again ({revision.path.name})"
        )
    for id_ in chosen.gone:
        yield f"{id_} was removed since {since}: databases that are at it know no way on"


def mixed_findings(
    project: Project,
    chosen: Chosen,
    findings: Iterable[Finding],
    hazards: Mapping[str, Hazard],
    levels: Levels,
) -> Iterator[Finding]:
    """One at each new revision that breaks running code, where application code changes in the same diff."""
    code = sorted(_application_code(project, chosen))
    if not code:
        return
    breaking = {
        finding.revision
        for finding in findings
        if not finding.accepted and hazards[finding.hazard].effect == "breaking code"
    }
    more = f" and {len(code) - 1} more" if len(code) > 1 else ""
    for revision in chosen.revisions:
        if revision.id in breaking:
            yield from at_revision(MIXED_PR, revision, f"Changed too: {code[0]}{more}.", levels)


def _application_code(project: Project, chosen: Chosen) -> Iterator[str]:
    """The Python files in the diff that are neither migrations, of whatever project, nor tests; from the root."""
    if chosen.changes is None:
        return
    migrations = {folder.resolve() for folder in (project.script_location, *project.version_locations)}
    top = chosen.changes.repository.top
    for file in chosen.changes.added | chosen.changes.modified | chosen.changes.deleted:
        name = file.relative_to(top) if file.is_relative_to(top) else file
        if file.suffix == ".py" and not _is_test(name) and not _is_migration(file, migrations):
            yield name.as_posix()


def _is_migration(file: Path, migrations: set[Path]) -> bool:
    return any(folder in migrations or (folder / "env.py").is_file() for folder in file.parents)


def _is_test(file: Path) -> bool:
    return bool(_TESTS & set(file.parts)) or file.name.startswith(("test_", "conftest"))

"""Writes the pieces of one autogenerate as a chain of revisions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

from alembic.operations.ops import DowngradeOps, MigrationScript, UpgradeOps
from alembic.util import rev_id

from dbctl.migrate.safe.parts import Group

_WORD = re.compile(r"\w+")


def chain(
    script: MigrationScript, groups: Sequence[Sequence[Group]], known: Collection[str], slug_length: int
) -> Iterator[MigrationScript]:
    """The scripts that ``script`` comes apart into: one where nothing has to be split.

    ``groups`` are those of each of the project's databases. ``known`` are the ids that are taken; ``slug_length``
    is how much of a message Alembic puts into a file's name.
    """
    bodies = list(zip_longest(*groups))
    if not bodies:
        yield script
        return
    ids = _ids(script.rev_id or rev_id(), len(bodies), known)
    message, last = script.message or "", script
    tokens = [
        (up.upgrade_token, down.downgrade_token)
        for up, down in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True)
    ]
    for number, (id_, body) in enumerate(zip(ids, bodies, strict=True)):
        current = script if number == 0 else _follow(last, id_)
        current.rev_id = id_
        if len(bodies) > 1:
            current.message = numbered(message, number + 1, len(bodies), slug_length)
        current.upgrade_ops = [
            UpgradeOps(group.up if group else [], up) for group, (up, _) in zip(body, tokens, strict=True)
        ]
        current.downgrade_ops = [
            DowngradeOps(group.down if group else [], down)
            for group, (_, down) in zip(body, tokens, strict=True)
        ]
        yield current
        last = current


def numbered(message: str, number: int, total: int, slug_length: int) -> str:
    """The message with its number; in front where a file's name would otherwise lose it and two be the same."""
    place = f"({number} of {total})"
    slug = "_".join(_WORD.findall(f"{message} {place}"))
    return f"{message} {place}" if len(slug) <= slug_length else f"{place} {message}"


def _follow(last: MigrationScript, id_: str) -> MigrationScript:
    script = MigrationScript(
        id_,
        UpgradeOps([]),
        DowngradeOps([]),
        imports=set(last.imports),
        head=last.rev_id,
        splice=False,
        version_path=last.version_path,
    )
    script._needs_render = True  # noqa: SLF001 - what RevisionContext sets on its own
    return script


def _ids(first: str, count: int, known: Collection[str]) -> list[str]:
    """As many ids, counted on where the project counts its revisions, else Alembic's."""
    ids, taken = [first], {*known, first}
    while len(ids) < count:
        following = _next(ids[-1]) if first.isdigit() else rev_id()
        while following in taken:
            following = _next(following) if first.isdigit() else rev_id()
        ids.append(following)
        taken.add(following)
    return ids


def _next(id_: str) -> str:
    return str(int(id_) + 1).zfill(len(id_))

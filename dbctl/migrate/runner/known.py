"""What is known of a statement that an earlier run has begun: whether it is done, by its note or by what stands there."""

from __future__ import annotations

from dbctl.migrate.runner.acts import Act
from dbctl.migrate.runner.invalid import Repair
from dbctl.migrate.runner.replay import unclear
from dbctl.migrate.runner.steps import Noted
from dbctl.postgres.sql.operations import CreateIndex, DetachPartition, Drop, Reindex, Vacuum


def rowcount_of(repair: Repair, act: Act, noted: Noted | None, *, is_autocommit: bool) -> int | None:
    """The rowcount of a statement that is done already; None: it has to be run.

    What a failed CONCURRENTLY has left in its way is removed. Raises Refused where nobody can know.
    """
    create = next((one for one in act.operations if isinstance(one, CreateIndex)), None)
    if noted and noted.state != "started":
        return noted.affected
    may_drop = is_autocommit and create is not None and create.concurrently
    if create and (create.concurrently or create.if_not_exists):
        index = repair.before_index(create, explained=noted is not None, may_drop=may_drop)
        return 0 if noted and index else None
    for one in act.operations:
        if isinstance(one, Reindex) and one.concurrently and is_autocommit:
            repair.before_reindex(one)
    return _came_to_its_end(repair, act, noted) if noted else None


def _came_to_its_end(repair: Repair, act: Act, noted: Noted) -> int | None:
    match act.operations:
        case (Reindex() | Vacuum(),):
            return None
        case (Drop() as drop,):
            return 0 if repair.is_gone(drop) else None
        case (DetachPartition() as detach,):
            is_detached = repair.is_detached(detach)
            if is_detached is not None:
                return 0 if is_detached else None
    raise unclear(noted)

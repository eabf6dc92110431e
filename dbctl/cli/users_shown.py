"""Users as they are shown: whole, or the fields of them that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dbctl.cli.output.views import users as view
from dbctl.errors import Invalid
from dbctl.users.model import Page, User

if TYPE_CHECKING:
    from dbctl.cli.command import Invocation
    from dbctl.cli.output.blocks import Blocks

_FIELDS = tuple(field.name for field in fields(User))


@dataclass(frozen=True, slots=True)
class _Part:
    """Some fields of a user, as JSON and CSV have them."""

    values: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """The fields that were asked for, in that order."""
        return self.values


def show_page(run: Invocation, page: Page, asked: str) -> None:
    """Show the users, and on stderr where to go on."""
    names = _checked(asked)
    if not names:
        run.emit(page.items, view.users)
    else:
        run.emit([_part(user, names) for user in page.items], _view_of(names))
    if page.next_cursor:
        run.say(f"more: add --after {page.next_cursor}")


def show_user(run: Invocation, user: User, asked: str) -> None:
    """Show one user."""
    names = _checked(asked)
    if not names:
        run.emit(user, view.user)
    else:
        run.emit(_part(user, names), lambda part: _view_of(names)([part]))


def _checked(asked: str) -> list[str]:
    names = [name.strip() for name in asked.split(",") if name.strip()]
    for name in names:
        if name not in _FIELDS:
            raise Invalid("fields", f"there is no {name!r}", hint=f"there are {', '.join(_FIELDS)}")
    if len(set(names)) < len(names):
        raise Invalid("fields", "one is given twice")
    return names


def _part(user: User, names: list[str]) -> _Part:
    return _Part({name: getattr(user, name) for name in names})


def _view_of(names: list[str]) -> Callable[[list[_Part]], Blocks]:
    return lambda parts: view.parts(names, [list(part.values.values()) for part in parts])

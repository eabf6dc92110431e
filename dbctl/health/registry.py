"""The list of checks: a function that looks and answers, registered under its name with what it reads and needs."""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import getdoc
from typing import TYPE_CHECKING, Literal

from dbctl.errors import UsageError
from dbctl.health.model import CheckResult, Described, Findings

if TYPE_CHECKING:
    from dbctl.health.look import Look

Answer = CheckResult | Findings
Function = Callable[["Look"], Awaitable[Answer]]
Profile = Literal["probe", "oncall", "nightly", "deploy"]
Where = Literal["any", "primary", "standby"]
Scope = Literal["server", "database"]

_PACKAGE = "dbctl.health.checks"
_CHECKS: dict[str, Check] = {}
# From what must be known at once to what has time until the night.
_PROFILES: tuple[Profile, ...] = ("probe", "deploy", "oncall", "nightly")


@dataclass(frozen=True, slots=True)
class Check:
    """A check and what is known of it before it runs.

    ``reads``: views, functions and settings. ``since``: the first server_version_num that has them; an older server is
    SKIPPED. ``where``: on which kind of server it means something. ``needs``: a predefined role, such as
    ``pg_monitor``, without which it would see NULLs: UNKNOWN with the GRANT. ``grants``: further SQL for a monitoring
    role, ``{role}`` being its name, already quoted. ``delta``: it compares two samples. ``scope``: what it says is of
    the whole server, or of the database that we are connected to.
    """

    name: str
    topic: str
    function: Function
    profiles: frozenset[Profile]
    reads: tuple[str, ...]
    since: int
    where: Where
    needs: str
    grants: tuple[str, ...]
    delta: bool
    scope: Scope

    @property
    def what(self) -> str:
        """The first line of its docstring."""
        return self.why.partition("\n")[0]

    @property
    def why(self) -> str:
        """What it measures and why it matters: its docstring."""
        return getdoc(self.function) or ""


def check(
    *,
    profiles: Iterable[Profile] = ("oncall",),
    reads: Iterable[str] = (),
    since: int = 0,
    where: Where = "any",
    needs: str = "",
    grants: Iterable[str] = (),
    delta: bool = False,
    scope: Scope = "server",
) -> Callable[[Function], Function]:
    """Register a check; its name is the function's, its topic the module's. ``nightly`` runs all of them.

    No profile but nightly (``profiles=()``) is for what is heavy or takes locks.
    """

    def register(function: Function) -> Function:
        name = function.__name__
        _CHECKS[name] = Check(
            name=name,
            topic=function.__module__.rpartition(".")[2],
            function=function,
            profiles=frozenset(profiles) | {"nightly"},
            reads=tuple(reads),
            since=since,
            where=where,
            needs=needs,
            grants=tuple(grants),
            delta=delta,
            scope=scope,
        )
        return function

    return register


@cache
def all_checks() -> dict[str, Check]:
    """Every check by its name, in the order of topics and of the functions in them."""
    package = import_module(_PACKAGE)
    for topic in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        # Importing a topic registers its checks.
        import_module(f"{_PACKAGE}.{topic}")
    return _CHECKS


def chosen(names: Iterable[str], skip: Iterable[str], profile: Profile = "oncall") -> list[Check]:
    """The checks (or whole topics) called ``names``, or those of the profile, less ``skip``, the most urgent first.

    Where the time does not suffice for all, it is the last ones that go without. Raises UsageError for a name that none
    has.
    """
    named, skipped = _meant(names), _meant(skip)
    wanted = [
        one for one in all_checks().values() if (one.name in named if named else profile in one.profiles)
    ]
    return sorted((one for one in wanted if one.name not in skipped), key=_urgency)


def _urgency(check: Check) -> tuple[bool, int]:
    """The server's state, which takes a look or two, before what reads a whole catalog; by the profile, the leanest first."""
    first = next(number for number, profile in enumerate(_PROFILES) if profile in check.profiles)
    return check.scope == "database", first


def _meant(words: Iterable[str]) -> set[str]:
    """The names of the checks that the words mean: a check goes before a topic of the same name."""
    checks, found = all_checks(), set[str]()
    for word in words:
        meant = {word} & checks.keys() or {one.name for one in checks.values() if one.topic == word}
        if not meant:
            raise UsageError(f"no check {word!r}", hint=f"there are: {', '.join(checks)}")
        found |= meant
    return found


def described(names: Iterable[str] = ()) -> list[Described]:
    """The checks called so, or all, for people. Raises UsageError for a name that none has."""
    order = ("probe", "oncall", "deploy", "nightly")
    named = {one.name for one in chosen(names, (), "nightly")}
    return [
        Described(
            one.name,
            one.topic,
            one.what,
            one.why,
            tuple(profile for profile in order if profile in one.profiles),
            one.reads,
            one.needs or ("a grant of its own" if one.grants else ""),
            one.since // 10000,
            one.delta,
        )
        for one in all_checks().values()
        if one.name in named
    ]

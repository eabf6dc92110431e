"""Turns a plain function into a command: shared options, one Invocation, coroutines that really run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Literal

import typer

from dbctl.cli.lazy import DefaultGroup, HelpfulCommand, HelpfulGroup
from dbctl.cli.loop import run_coroutine
from dbctl.cli.options import COMMON, EMITTING, UNATTENDED, WRITING, Common
from dbctl.cli.recording import Recording, recorded
from dbctl.cli.runtime import Invocation

__all__ = ["Group", "Invocation", "leaf"]

Function = Callable[..., Any]
Emits = Literal["", "report", "list", "findings", "monitor", "health"]


class Group:
    """A group of commands, such as ``dbctl users``; ``app`` is what Typer runs."""

    def __init__(self, name: str, summary: str, *, default: str = "") -> None:
        base = type("Group", (DefaultGroup,), {"default": default}) if default else HelpfulGroup
        self.app = typer.Typer(
            name=name,
            help=summary,
            cls=base,
            add_completion=False,
            no_args_is_help=not default,
            rich_markup_mode=None,
        )
        self.app.callback()(shared_options)

    def command(
        self,
        name: str,
        *,
        emits: Emits = "",
        writes: bool = False,
        unattended: bool = False,
        passes: bool = False,
    ) -> Callable[[Function], Function]:
        """Register a command.

        ``emits`` gives it --format and -o (a ``list`` has more formats than a ``report``, ``findings`` those of
        code reviews, a ``monitor`` those of Nagios and Prometheus, ``health`` JUnit's too), ``writes`` --yes and --confirm, ``unattended`` --ping and --metrics-file; ``passes`` takes unknown options as arguments, such as ``-1`` for a revision.
        """

        def register(function: Function) -> Function:
            context = {"ignore_unknown_options": True} if passes else None
            self.app.command(name, cls=HelpfulCommand, context_settings=context)(
                _adapt(
                    function,
                    emits=emits,
                    writes=writes,
                    job=f"{self.app.info.name} {name}" if unattended else "",
                )
            )
            return function

        return register


def leaf(function: Function, *, emits: Emits = "", writes: bool = False) -> typer.Typer:
    """An app of one command, such as ``dbctl health``."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=HelpfulCommand)(_adapt(function, emits=emits, writes=writes))
    return app


def _adapt(function: Function, *, emits: Emits, writes: bool, job: str = "") -> Function:
    shared = [*COMMON, *EMITTING[emits], *(WRITING if writes else ())]
    names = {parameter.name for parameter in shared}
    shared += UNATTENDED if job else []

    @wraps(function)
    def call(ctx: typer.Context, **given: Any) -> int:
        options = {name: given.pop(name) for name in list(given) if name in names}
        recording = Recording(ctx.command_path.partition(" ")[2], _arguments(ctx))
        run = Invocation(Common.merge(ctx.obj, options), recording)
        with _told(run, job, given), recorded(run, recording):
            outcome = function(run, **given)
            if inspect.iscoroutine(outcome):
                run_coroutine(outcome)
        return run.exit_code

    own = inspect.signature(function, eval_str=True).parameters.values()
    return _signed(
        call, [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name != "run"] + shared
    )


def _arguments(ctx: typer.Context) -> dict[str, Any]:
    """What stood on the command line, but for the address of a check, which is a secret."""
    sources = ((name, ctx.get_parameter_source(name)) for name in ctx.params)
    return {
        name: ctx.params[name]
        for name, source in sources
        if source is not None and source.name == "COMMANDLINE" and name != "ping"
    }


def _told(run: Invocation, job: str, given: dict[str, Any]) -> AbstractContextManager[None]:
    """Take out of ``given`` whom to tell how the command goes."""
    ping, metrics_file = given.pop("ping", None), given.pop("metrics_file", None)
    if not job or (ping is None and metrics_file is None):
        return nullcontext()
    from dbctl.cli.unattended import told

    return told(run, job, ping, metrics_file)


def _signed(call: Function, parameters: list[inspect.Parameter]) -> Function:
    """Give ``call`` the signature that Typer reads: a context and ``parameters``."""
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    call.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in (context, *parameters)}
    return call


def _remember(ctx: typer.Context, **options: Any) -> None:
    ctx.obj = Common.merge(ctx.obj, options)


# The callback of every group: what its own options said, for the command behind it.
shared_options = _signed(_remember, COMMON)

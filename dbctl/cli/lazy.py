"""A command group whose members are imported when they are used: the one file that knows Typer's inner command classes."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError
from typer.core import TyperCommand, TyperGroup


class _Helpful:
    """Help drawn by Rich for a person at a terminal; plain text, which copies well and is cheap, for a pipe."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if not sys.stdout.isatty():
            super().format_help(ctx, formatter)  # type: ignore[misc]
            return
        from dbctl.cli.help import draw_help

        formatter.write(draw_help(self, ctx))


class HelpfulCommand(_Helpful, TyperCommand):
    """A command with dbctl's help."""


class HelpfulGroup(_Helpful, TyperGroup):
    """A group with dbctl's help."""


def usage_error(error: Exception) -> tuple[str, str] | None:
    """What Typer says of a wrong command line, and what to try; None where ``error`` is something else.

    The message is empty where nothing is wrong: a group without a command has shown its help.
    """
    if not isinstance(error, ClickException):
        return None
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return "", ""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split())
    return message, f"`{context.command_path} --help`" if context else ""


class LazyCommand(TyperCommand):
    """A name and a line of help, until the command is really used."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary, short_help=summary)
        self.module = module

    def load(self) -> Any:
        """The real command, from ``app`` in its module."""
        command = typer.main.get_command(import_module(self.module).app)
        command.name = self.name
        return command

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """The real command's context: from here on, it has taken this one's place."""
        return self.load().make_context(*arguments, **extra)


class RootGroup(HelpfulGroup):
    """dbctl itself: a table of names, none of them imported."""

    members: ClassVar[dict[str, tuple[str, str]]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (module, summary) in self.members.items():
            self.add_command(LazyCommand(name, module, summary))


class DefaultGroup(HelpfulGroup):
    """A group that runs one of its commands when none is named."""

    default: ClassVar[str] = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command's name where a command's name is missing."""
        valued = {name for one in self.params if not getattr(one, "is_flag", False) for name in one.opts}
        words = [word for before, word in zip(["", *args], args, strict=False) if before not in valued]
        named = any(word in self.commands or word in ctx.help_option_names for word in words)
        return super().parse_args(ctx, args if named else [self.default, *args])

"""``dbctl health --serve``: the routes of dbctl.web under uvicorn, for who has no FastAPI application."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

from dbctl.errors import ToolMissing, UsageError

_LAST_PORT = 65535


def listen(address: str) -> socket.socket:
    """A socket that listens on ``HOST:PORT``, or ``[IPV6]:PORT``; port 0 is any that is free. Raises UsageError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > _LAST_PORT:
        raise UsageError(f"--serve {address}", why="it is no HOST:PORT", hint="such as 127.0.0.1:8080")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise UsageError(f"can't listen on {address}", why=str(error), hint="choose another port") from error


async def serve(listener: socket.socket) -> None:
    """Answer until the command is interrupted. Raises ToolMissing without the extra."""
    uvicorn = _uvicorn()
    from fastapi import FastAPI

    from dbctl.web import lifespan, router

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    # Signals are the runtime's: it cancels this task.
    server.capture_signals = _no_signals
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


def _no_signals() -> AbstractContextManager[None]:
    return nullcontext()


def _uvicorn() -> ModuleType:
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise ToolMissing(
            "--serve needs FastAPI and uvicorn", why=str(error), hint="install pg-dbctl[web]"
        ) from error
    return uvicorn

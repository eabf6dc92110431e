"""An application as a team writes it: dbctl's engine, a session a request, its own routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.web import get_db, lifespan, router

app = FastAPI(lifespan=lifespan)
app.include_router(router)
Session = Annotated[AsyncSession, Depends(get_db)]


@app.get("/answer")
async def answer(session: Session) -> dict[str, int]:
    return {"answer": int(await session.scalar(text("SELECT 42")) or 0)}


@app.get("/slow")
async def slow(session: Session) -> dict[str, bool]:
    await session.execute(text("SELECT pg_sleep(0.02)"))
    return {"slept": True}


@app.post("/fail")
async def fail(session: Session) -> None:
    await session.execute(text("CREATE TABLE never_there (id int)"))
    raise RuntimeError("after a change")

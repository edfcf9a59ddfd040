"""FastAPI: a request enqueues and answers at once; a worker inside the same process does the work.

Run it:   uvicorn fastapi_app:app
Ask it:   curl -X POST localhost:8000/signup -H 'content-type: application/json' -d '{"address": "ann@example.com"}'
          curl localhost:8000/jobs/ID
One sees  an id at once, then the job's status, and its result when it is done. Ctrl-C or SIGTERM: the server stops
          first, then the worker drains: a running job is finished, a waiting one is there at the next start.

To run the jobs elsewhere: `async with mail: yield` in the lifespan, and `surefoot worker fastapi_app:mail` there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from surefoot import Queue, State, Worker

mail = Queue("sqlite:///jobs.db", name="mail")


class Signup(BaseModel):
    """What a new customer sends."""

    address: str
    language: str = "en"


class JobStatus(BaseModel):
    """What a customer may know of a job."""

    id: str
    status: State
    result: str | None = None


@mail.task
async def welcome(address: str, *, language: str = "en") -> str:
    await asyncio.sleep(1)  # as slow as a mail server
    return f"welcomed {address} in {language}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Worker(mail, drain=10):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/signup", status_code=202)
async def signup(new: Signup) -> JobStatus:
    job = await welcome.enqueue(new.address, language=new.language)
    return JobStatus(id=job.id, status="pending")


@app.get("/jobs/{id}")
async def look(id: str) -> JobStatus:
    job = welcome.handle(id)
    status = await job.status()
    if status is None:
        raise HTTPException(404, f"there is no job {id}, or no longer")
    return JobStatus(id=id, status=status, result=await job.result() if status == "completed" else None)

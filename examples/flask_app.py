"""Flask: every awaited method has a blocking twin, and the worker is a process of its own.

Run it:   flask --app flask_app run                 and in another terminal
          surefoot worker flask_app:pictures
Ask it:   curl -F picture=@holiday.jpg localhost:5000/pictures
          curl localhost:5000/jobs/ID
One sees  an id at once, then the job's status, and the path of the thumbnail when it is made. Without a worker the
          jobs wait.
"""

from pathlib import Path
from uuid import uuid4

from flask import Flask, abort, request
from PIL import Image

from surefoot import Queue

pictures = Queue("sqlite:///jobs.db", name="pictures")
app = Flask(__name__)
uploads = Path("uploads")


@pictures.task(timeout=60)  # a plain function runs in a thread
def thumbnail(path: str, *, width: int = 320) -> str:
    with Image.open(path) as picture:
        picture.thumbnail((width, width))
        picture.save(f"{path}.thumbnail.png")
    return f"{path}.thumbnail.png"


@app.post("/pictures")
def add() -> tuple[dict[str, str], int]:
    uploads.mkdir(exist_ok=True)
    path = uploads / uuid4().hex
    request.files["picture"].save(path)
    job = thumbnail.enqueue_sync(str(path))  # the file's path travels, not the file
    return {"id": job.id}, 202


@app.get("/jobs/<id>")
def look(id: str) -> dict[str, str | None]:
    job = thumbnail.handle(id)
    status = job.status_sync()
    if status is None:
        abort(404, f"there is no job {id}, or no longer")
    return {"id": id, "status": status, "result": job.result_sync() if status == "completed" else None}

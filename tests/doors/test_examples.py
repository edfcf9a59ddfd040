"""The examples, run as a user runs them: by the command that their first lines give, in a folder of their own. What
they show and leave is looked at from outside, and whoever runs until a signal is stopped by one.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.doors.examples_stage import (
    EXAMPLES,
    PROGRAMS,
    ROOT,
    STORE,
    Desk,
    Program,
    ask,
    code_lines,
    commands,
    form,
    mail_server,
)
from tests.faults.processes import eventually

COMMANDS = commands()
FOLDERS = {"shop": 40, "tutorial": 100}
"""Examples in several files, and the lines of code that they may have together."""
HELPERS = {"receiver.py"}
WELCOMED = ["user0@example.com", *(f"user{i}@example.com" for i in range(5))]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def docstring(example: str) -> str:
    """The first lines of an example: of the module that its first command names, of a package with more below."""
    path = EXAMPLES / example
    files = [path] if path.is_file() else [path / "__init__.py", path / "main.py"]
    return "\n".join(ast.get_docstring(ast.parse(file.read_text())) or "" for file in files if file.exists())


# --- the texts ---


def test_the_readme_lists_every_example_and_nothing_else() -> None:
    there = {path.relative_to(EXAMPLES).parts[0] for path in PROGRAMS}
    assert set(COMMANDS) == there - HELPERS
    assert len(COMMANDS) == 8
    links = re.findall(r"\]\((\S+)\)", (EXAMPLES / "README.md").read_text())
    assert all((EXAMPLES / link).is_file() for link in links)


@pytest.mark.parametrize("example", sorted(COMMANDS))
def test_the_first_lines_give_the_readme_s_commands_and_say_what_one_sees(example: str) -> None:
    first = docstring(example)
    assert COMMANDS[example]
    for command in COMMANDS[example]:
        assert f"  {command}" in first
    assert re.search(r"^Run it: ", first, re.M)
    assert re.search(r"^One sees ", first, re.M)


def test_every_example_is_short() -> None:
    lines = {path.relative_to(EXAMPLES): code_lines(path) for path in PROGRAMS}
    assert {path: count for path, count in lines.items() if count > 40} == {}
    alone = {path: count for path, count in lines.items() if len(path.parts) == 1 and path.name not in HELPERS}
    assert {path: count for path, count in alone.items() if count < 15} == {}
    for folder, most in FOLDERS.items():
        assert 15 <= sum(count for path, count in lines.items() if path.parts[0] == folder) <= most


@pytest.mark.timeout(300)
def test_mypy_in_its_strict_mode_finds_nothing() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "examples"]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"MYPYPATH": "examples"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"Success: no issues found in {len(PROGRAMS)} source files\n"


# --- the tutorial ---


def test_tutorial_ten_jobs_and_ctrl_c(desk: Desk) -> None:
    with mail_server() as box:
        [command] = COMMANDS["tutorial"]
        program = desk.start(command, SMTP_HOST="127.0.0.1", SMTP_PORT=str(box.port))
        program.says(r" completed ", times=9)
        program.says(r" dead ")
        assert program.stop(signal.SIGINT) == 0, str(program)
    assert box.addresses == WELCOMED
    assert Counter(str(mail["Subject"]) for mail in box.mails) == {"Welcome!": 5, "Still here?": 1}
    assert len({mail["Message-ID"] for mail in box.mails}) == 6
    [letter] = desk.surefoot("dead", "list", "--app", "tutorial.main")
    assert program.out == f"dead letter {letter['id']}: invalid email address 'nobody'\n"
    images = sorted(name for name in desk.left() if name.endswith(".png"))
    assert desk.left() == {"sales-november.pdf", "stock-november.pdf", *images, *STORE}
    done, before = images
    with Image.open(desk.folder / before) as picture:
        assert (before, picture.size, picture.mode) == (done.replace("-done", ""), (640, 480), "RGB")
    with Image.open(desk.folder / done) as picture:
        assert (picture.size, picture.mode) == ((320, 240), "L")
    for report in ("sales-november.pdf", "stock-november.pdf"):
        content = (desk.folder / report).read_bytes()
        assert content.startswith(b"%PDF-")
        assert b"/Type /Page" in content
        assert content.rstrip().endswith(b"%%EOF")


def test_tutorial_needs_no_mail_server(desk: Desk) -> None:
    [command] = COMMANDS["tutorial"]
    program = desk.start(command)
    program.says(r"^mail for ", times=6)
    program.says(r" completed ", times=9)
    assert program.stop(signal.SIGTERM) == 0, str(program)
    assert sorted(re.findall(r"^mail for (.*)$", program.out, re.M)) == WELCOMED


def test_tutorial_ctrl_c_in_the_middle_of_four_mails_finishes_them_and_keeps_the_rest(desk: Desk) -> None:
    with mail_server() as box:
        box.open.clear()
        [command] = COMMANDS["tutorial"]
        here = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(box.port)}
        program = desk.start(command, **here)
        eventually("four mails are on their way", lambda: box.coming == 4)
        program.process.send_signal(signal.SIGINT)
        program.says(r"worker draining .*running=4")
        box.open.set()
        assert program.ended() == 0, str(program)
        assert len(box.mails) == 4
        assert program.err.count(" completed ") == 4
        [stats] = desk.surefoot("stats", "tutorial.main")
        assert (stats["pending"] + stats["scheduled"] + stats["dead"], stats["processing"]) == (6, 0)
        second = desk.start("surefoot worker tutorial.main:worker", **here)
        second.says(r" completed ", times=5)
        assert second.stop(signal.SIGINT) == 0, str(second)
    assert box.addresses == WELCOMED, "a mail that was lost, or sent twice"
    [stats] = desk.surefoot("stats", "tutorial.main")
    assert [stats[state] for state in ("scheduled", "pending", "parked", "processing", "dead")] == [0, 0, 0, 0, 1]


# --- web frameworks ---


def finished(url: str, status: str = "completed") -> str:
    """Ask until the job has this status; its result."""
    eventually(f"{url} is {status}", lambda: ask(url)[1].get("status") == status)
    return str(ask(url)[1]["result"])


# Ctrl-C ends with 0; after SIGTERM uvicorn has shut down it ends itself by that signal again.
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_fastapi_answers_at_once_and_its_worker_drains(desk: Desk, number: signal.Signals, code: int) -> None:
    [command] = COMMANDS["fastapi_app.py"]
    server = desk.start(f"{command} --port 0")
    url = server.says(r"running on (http://127\.0\.0\.1:\d+)")
    status, job = ask(f"{url}/signup", b'{"address": "ann@example.com", "language": "fr"}')
    assert (status, job["status"], job["result"]) == (202, "pending", None)
    assert finished(f"{url}/jobs/{job['id']}") == "welcomed ann@example.com in fr"
    assert ask(f"{url}/jobs/nobody")[0] == 404
    assert ask(f"{url}/signup", b"{}")[0] == 422
    _, last = ask(f"{url}/signup", b'{"address": "bob@example.com"}')
    eventually("it runs", lambda: ask(f"{url}/jobs/{last['id']}")[1]["status"] == "processing")
    assert server.stop(number) == code, str(server)
    known = desk.queue("mail").get_sync(last["id"])
    assert known is not None
    assert (known.state, known.runs, known.interruptions) == ("completed", 1, 0)


def test_fastapi_as_its_first_lines_ask_it(desk: Desk) -> None:
    """The address and the body of the call to curl are right."""
    [command] = COMMANDS["fastapi_app.py"]
    server = desk.start(f"{command} --port 0")
    url = server.says(r"running on (http://127\.0\.0\.1:\d+)")
    [(path, body)] = re.findall(r"curl -X POST localhost:8000(\S+) .* -d '(.*)'", docstring("fastapi_app.py"))
    status, job = ask(url + path, body.encode())
    assert status == 202
    [path] = re.findall(r"curl localhost:8000(\S+)", docstring("fastapi_app.py"))
    assert finished(url + path.replace("ID", job["id"])) == "welcomed ann@example.com in en"
    assert server.stop(signal.SIGINT) == 0


def test_flask_enqueues_and_another_process_works(desk: Desk) -> None:
    serve, work = COMMANDS["flask_app.py"]
    server = desk.start(f"{serve} --port 0")
    url = server.says(r"Running on (http://127\.0\.0\.1:\d+)")
    picture = io.BytesIO()
    Image.new("RGB", (1000, 500), "orange").save(picture, "PNG")
    [field] = re.findall(r"curl -F (\w+)=@", docstring("flask_app.py"))
    status, job = ask(f"{url}/pictures", *form(field, picture.getvalue()))
    assert status == 202
    assert ask(f"{url}/jobs/{job['id']}")[1] == {"id": job["id"], "status": "pending", "result": None}
    assert ask(f"{url}/jobs/nobody")[0] == 404
    worker = desk.start(work)
    path = finished(f"{url}/jobs/{job['id']}")
    with Image.open(desk.folder / path) as thumbnail:
        assert thumbnail.size == (320, 160)
    assert desk.left() >= {path, path.removesuffix(".thumbnail.png")}
    assert worker.stop(signal.SIGTERM) == 0, str(worker)
    assert server.stop(signal.SIGINT) == 0, str(server)


def test_django_enqueues_what_commits_and_nothing_else(desk: Desk) -> None:
    [command] = COMMANDS["django_app.py"]
    for times in (1, 2):  # a second run finds the first one's files
        program = desk.run(command)
        waits, refused, count, welcomed = program.out.splitlines()
        assert re.fullmatch(r"ann's job \S+ is pending", waits)
        assert re.fullmatch(r"bob-\w+ has not paid: nothing is kept", refused)
        assert count == "jobs that wait: 1"
        assert re.fullmatch(r"welcome ann-\w+", welcomed)
        known = desk.queue("accounts").find_sync()
        assert [job.state for job in known] == ["completed"] * times
        assert waits.split()[2] == known[0].id
    assert desk.left() == {"accounts.db", *STORE}


# --- the rest ---


def readings(desk: Desk) -> list[int]:
    """The ticks that were served, as numbers of two seconds since the epoch."""
    lines = (desk.folder / "readings.csv").read_text().splitlines()
    return [int(float(line.split(",")[0])) // 2 for line in lines]


def test_cron_report_reads_once_a_tick_even_with_two_of_them(desk: Desk) -> None:
    [command] = COMMANDS["cron_report.py"]
    one, other = desk.start(command), desk.start(command)
    assert (one.ended(), other.ended()) == (0, 0), f"{one}{other}"
    ticks = readings(desk)
    assert len(ticks) >= 2
    assert len(set(ticks)) == len(ticks), "a tick was served twice"
    assert len(re.findall("^one more reading$", one.out + other.out, re.M)) == len(ticks)
    for program in (one, other):
        shown = dict(re.findall(r"^(\S+) +.* next (.*)$", program.out, re.M))
        assert set(shown) == {"read_load", "morning", "monthly-us"}
        assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri) .* 06:00:00 CES?T", shown["morning"])
        assert re.fullmatch(r"\w+ 01 .* 22:30:00 E[SD]T", shown["monthly-us"])
        assert re.search(r":\d[02468] UTC$", shown["read_load"])
    assert desk.left() == {"readings.csv", *STORE}


def test_webhooks_three_requests_with_one_key(desk: Desk) -> None:
    [command] = COMMANDS["webhooks.py"]
    for _ in range(2):  # also where it ran before
        program = desk.run(command)
        asked = re.findall(r"^(/\S+) answers (\d+) to key (\S+)$", program.out, re.M)
        keys = [key for _, _, key in asked]
        assert [(path, code) for path, code, _ in asked] == [
            ("/orders", "503"), ("/orders", "429"), ("/orders", "200"), ("/old", "410"),
        ]  # fmt: skip
        assert len(set(keys[:3])) == 1
        assert keys[3] != keys[0]
        for line in ("enqueued twice, one job: True", "delivered: 200"):
            assert line in program.out.splitlines()
        last = f"job {keys[3]} (deliver) is dead (rejected) after 1 run: Reject: /old answered 410"
        assert program.out.splitlines()[-1] == last
    hooks = desk.queue("webhooks")
    assert sorted(job.state for job in hooks.find_sync()) == ["completed", "completed", "dead", "dead"]
    assert [job.failures for job in hooks.find_sync(state="completed")] == [2, 2]
    assert desk.left() == STORE


def test_long_job_reports_is_cancelled_and_goes_on_after_a_stop(desk: Desk) -> None:
    [command] = COMMANDS["long_job.py"]
    lines = desk.run(command).out.splitlines()
    pages = [int(line.removeprefix("page ")) for line in lines if line.startswith("page ")]
    assert any(pages), "no progress was seen"
    assert max(pages) < 100
    requested, cancelled, waits, done = [line for line in lines if not line.startswith("page ")]
    assert requested == "requested"
    assert re.fullmatch(r"job \S+ \(index\) was cancelled: nobody needs it any more\.", cancelled)
    assert waits == "the worker left; the job is pending"
    match = re.fullmatch(r"an atlas: 300 pages, from page (\d+) in attempt 2", done)
    assert match is not None, done
    assert 100 <= int(match[1]) < 300
    [atlas] = desk.queue("archive").find_sync(state="completed")
    assert (atlas.runs, atlas.failures, atlas.snoozes) == (2, 0, 1)
    assert desk.left() == STORE, "a bookmark was left"


def test_shop_a_producer_gets_its_answer_without_the_code(desk: Desk) -> None:
    work, produce = COMMANDS["shop"]
    producer = desk.start(produce)
    id = producer.says(r"^accepted as job (\S+)$")
    assert desk.queue("billing").handle(id).status_sync() == "pending"
    worker = desk.start(work)
    assert producer.ended() == 0, str(producer)
    [number] = re.findall(r"^invoice (2026-\w+)$", producer.out, re.M)
    worker.says(rf"^mail for ann@example\.com in en: your invoice {number}$")
    assert f"invoice {number} for ann@example.com: 16.50" in worker.out
    assert re.search(r"^  mail +receipt$", worker.err, re.M)
    assert re.search(r"^  billing +invoice$", worker.err, re.M)
    assert worker.stop(signal.SIGINT) == 0, str(worker)
    assert desk.left() == STORE


def test_shop_a_producer_loads_neither_the_handlers_nor_a_worker(desk: Desk) -> None:
    script = "import json, sys, shop.checkout; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(desk.run(f'python -c "{script}"').out)
    assert {"shop.api", "shop.queues", "surefoot.client.queue"} <= set(loaded)
    behind = ("shop.handlers", "shop.worker", "surefoot.worker", "surefoot.engine", "surefoot.execution.loop")
    assert [name for name in loaded if name.startswith(behind)] == []


def test_shop_everything_loads_for_a_check(desk: Desk) -> None:
    program: Program = desk.run(f"{COMMANDS['shop'][0]} --check")
    assert "2 queues, 2 tasks, 0 crons: all loaded." in program.err
    assert desk.left() == set()

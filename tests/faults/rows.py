"""The fault table as data: what can go wrong and what happens then, in a sentence each. page.py finds the tests.

A row that no test holds on one of the two kinds of stores says why not.
"""

from typing import Final

import msgspec

NO_SERVER: Final = "a file has no server"
NO_FILE: Final = "a server has no such file"
NO_FOLLOWERS: Final = "a file has no replicas"
NOT_YET: Final = "not in this release"


class Row(msgspec.Struct, frozen=True):
    """One fault. `no_file`, `no_server`: why no test makes it happen on SQLite, on Redis and Valkey."""

    id: str
    fault: str
    behaviour: str
    no_file: str | None = None
    no_server: str | None = None


WORKERS: Final = (
    Row("W1", "the reply to a claim is lost, or its worker is killed before it reads it",
        "Asked again, the store hands out the same jobs. If nobody asks, they run elsewhere when the lease ends, and a "
        "crash is counted, for the store cannot know better."),
    Row("W2", "kill -9 after the claim, before the first line of the handler",
        "Another worker runs the job within 15 seconds by default. One crash, no failure, attempt 2."),
    Row("W3", "kill -9 in the middle of the handlers",
        "As W2, for every job that ran in that process."),
    Row("W4", "kill -9 after the effect of a job, before its settle",
        "One more run for one kill, under the same job id."),
    Row("W5", "the reply to a settle is lost, or its worker is killed before it reads it",
        "Said again, it gets the same answer and changes nothing; nothing runs twice."),
    Row("W6", "stopped between any two calls of failing, retrying and burying",
        "The counts are right and the job is in one place: each of these is one step in the store."),
    Row("W7", "SIGTERM while short and long jobs run",
        "Nothing more is claimed. Running jobs get the drain time, then they are handed back, uncharged. What had not "
        "started goes back to its old place. Exit 0."),
    Row("W8", "SIGTERM at any moment, also between the reply to a claim and the start of its jobs",
        "No job waits for a lease to end."),
    Row("W9", "a second and a third signal",
        "The second cancels and hands back at once, exit 130 or 143. The third leaves at once, and the leases end by "
        "themselves."),
    Row("W10", "a worker is frozen for longer than its lease and wakes up, also when its id was enqueued anew",
        "What it says of the job is refused and changes nothing. Its run is cancelled, with one `lease_lost` event. "
        "The other worker's run counts."),
    Row("W11", "a handler blocks the event loop for several leases",
        "Its lease is renewed from another thread: one run. A warning names the job and shows the stack."),
    Row("W12", "a plain function that never returns",
        "At its timeout the job fails, its slot is replaced, the thread is reported as stuck. With as many stuck as "
        "there are threads the worker drains and leaves with 75."),
    Row("W13", "the process of a job dies: a crash of the interpreter, an exit, a kill for memory",
        "That job alone is charged with a crash that has the signal's name. The lane repairs itself."),
    Row("W14", "one job kills its worker every time, among a thousand good ones",
        "After three crashes it is a dead letter, reason `crash_loop`. Every good job completes; none is quarantined. "
        "A run that snoozes forgets the crashes before it."),
    Row("W15", "a handler raises a group, an exception that cannot be printed, one with 10 MB of text",
        "A failed attempt, with text and traceback cut to a bound. Local variables are not stored."),
    Row("W16", "a handler raises CancelledError by itself",
        "A failed attempt, not a shutdown."),
    Row("W17", "a handler raises SystemExit, KeyboardInterrupt or GeneratorExit",
        "A failed attempt and one warning. The worker lives."),
    Row("W18", "a handler runs out of memory or of stack",
        "The failure is recorded, with a constant text if even that cannot be put into words."),
    Row("W19", "two workers of one name; a container that starts again under its old host name",
        "Each start has a random identity. A name keeps nothing alive and takes nothing from the living."),
    Row("W20", "a process forks after it has used the store; a machine is cloned",
        "The child is a caller of its own, with connections of its own. Nothing is shared, sent twice or answered from "
        "the parent's memory."),
    Row("W21", "a handler that takes longer than ten leases, on a healthy worker",
        "One run."),
)  # fmt: skip

SERVERS: Final = (
    Row("R1", "the server is killed and started again",
        "With a log on disk nothing that was flushed is lost. Workers and producers come back and go on. A server that "
        "keeps nothing is named at the start.", no_file=NO_SERVER),
    Row("R2", "the server's log ends in the middle of what a script wrote",
        "All of the script or nothing of it: the job is where it was.", no_file=NO_SERVER),
    Row("R3", "Sentinel makes a replica the primary",
        "Clients find the new primary and go on.", no_file=NO_FOLLOWERS),
    Row("R4", "an enqueue must survive the loss of the primary",
        "`Queue(durable=1)` waits for a replica and raises when none confirms.",
        no_file=NO_FOLLOWERS),
    Row("R6", "the server is emptied, or an empty one takes its place",
        "Said once. Runs whose jobs are gone are dropped, schedules go on, nothing crashes.", no_file=NO_SERVER),
    Row("R7", "Redis Cluster",
        "All keys of a queue are in one slot, and every verb works there.", no_file=NO_SERVER),
    Row("R8", "a slot moves to another node under load",
        "The move is followed and nothing is lost.", no_file=NO_SERVER),
    Row("R9", "a slow line: 200 ms, jitter, lost packets",
        "Slower, and no error. Leases are renewed in time.", no_file="a file has no line"),
    Row("R10", "the connection is cut at any byte of any request and reply; a process that writes a file is stopped at "
        "any statement, byte or reply",
        "The store is as after one execution of each call, or as before it."),
    Row("R11", "a connection that is half open: nothing comes back any more",
        "Noticed within the timeout, and said again on a new connection. No job stays in a dead socket.",
        no_file="a file has no line"),
    Row("R12", "the line is cut for longer than the lease while the worker lives",
        "Another worker runs the job. The first cannot report a success any more; once it hears of it, its run is "
        "cancelled, and a thread learns it from `check()`. An outage for all cancels nothing.",
        no_file="who can read a file can write it: see W10"),
    Row("R13", "the server's memory is full",
        "An enqueue is refused whole. What is there is worked off all the same.", no_file="see Q2"),
    Row("R14", "an eviction policy that may drop jobs",
        "The worker refuses to start, exit 4, unless it is told to allow it. A server that does not say is a warning.",
        no_file="a file evicts nothing"),
    Row("R15", "a part of a job is gone: dropped by the server or by a careless hand",
        "A dead letter, reason `body_lost`, with a placeholder for its arguments."),
    Row("R16", "the URL leads to a replica",
        "Refused in a sentence that names the primary. A primary that becomes a replica is away until it is one again.",
        no_file=NO_FOLLOWERS),
    Row("R17", "another client's script keeps the server busy",
        "Waited out. No script is killed.", no_file=NO_SERVER),
    Row("R19", "the server forgets its scripts, also in the middle of a pipeline",
        "They are sent again, and no verb is executed twice.", no_file="a file keeps no scripts"),
    Row("R20", "an account without the rights that are needed",
        "A worker does not start and a producer writes nothing: all that is missing stands in one sentence. The "
        "accounts of the page on deploying can do what they are for, and no more.", no_file="see Q12"),
    Row("R21", "the clocks of worker and producer are an hour off",
        "No due time, lease or tick moves: the store's clock rules, and a datetime is a moment of that clock.",
        no_file="its processes share one machine and one clock"),
    Row("R22", "the store's clock jumps forward or back",
        "Forward: the next renewal of a live worker wins. Back: later by the jump, and nothing is lost."),
    Row("R23", "too many clients; the password was changed; a TLS certificate expired or is not accepted",
        "Tried again with growing pauses, said at most once a minute in a sentence with the way out, without the "
        "password.", no_file=NO_SERVER),
    Row("R24", "every wake-up is lost, and whoever watches the next timer is killed",
        "Found within the floor of 1.2 leases."),
    Row("R25", "very many jobs due at one instant, as many pending",
        "Claims stay flat: promotion goes in bounded steps."),
)  # fmt: skip

TIME: Final = (
    Row("C1", "the two days a year on which a wall clock changes, in six zones",
        "A fixed hour runs once on both days, at the first moment that exists. A line for every hour follows the hours "
        "that pass."),
    Row("C2", "ten schedulers fire the same tick",
        "One job."),
    Row("C3", "nobody was alive for some ticks",
        "Of those within `catch_up` the last runs, once. Older ones are skipped."),
    Row("C4", "a clock steps back over a tick; a tick was stored by a clock that was years ahead",
        "Not twice. What lies further ahead than a minute counts as unset, and silences nothing."),
)  # fmt: skip

DATA: Final = (
    Row("D1", "arguments larger than the limit",
        "Refused before the store is asked, with both sizes."),
    Row("D2", "foreign, cut or damaged envelopes in the store; random bytes",
        "Dead letters, reason `invalid`, with the bytes as they were. Their siblings run."),
    Row("D3", "a task, a schema or an envelope that no worker here knows",
        "Waits, uncharged, for a worker that does. A task that nobody knows for `unknown_ttl` is a dead letter."),
    Row("D4", "arguments that do not fit the function",
        "A dead letter without a run, which names the parameter and both types."),
    Row("D5", "a result that cannot be stored, or is too large",
        "The job is completed. The result says what it was."),
    Row("D6", "dead letters without end",
        "Kept until deleted. Where a worker has a limit the oldest go, and are counted."),
    Row("D7", "ten thousand jobs fail in one second",
        "Their retries are spread evenly: no second gets more than its share."),
    Row("D8", "large integers, floats, empty lists, deep nesting, half surrogates, NaN",
        "Equal at the other end, or refused at the enqueue."),
    Row("D9", "the same key or id again",
        "The job that is there, `duplicate=True`. Never do two jobs hold one key."),
    Row("D10", "cancel, expiry or pause against a claim",
        "One of the two, never both, never neither."),
    Row("D11", "`expires` beside a delay, a retry, a lost lease, a requeue",
        "Counted from the due time. A job that has started once does not expire."),
)  # fmt: skip

FILE: Final = (
    Row("Q1", "several processes write at once",
        "They take turns. Another program in the file is waited for, up to the timeout."),
    Row("Q2", "the disk is full, at any step",
        "What grows is refused whole, in a sentence. What shrinks goes on, finished work is kept and settled later, "
        "the file stays sound.", no_server="see R13"),
    Row("Q3", "kill -9 of anybody at any time",
        "Nothing that was acknowledged is lost."),
    Row("Q4", "the power fails",
        "The file is flushed before an answer.",
        no_file="no machine to pull the plug of", no_server="a matter of its log: see R1"),
    Row("Q5", "an SQLite library that may damage a log under two writers",
        "Known by its version. Our lock file keeps commits and checkpoints apart.", no_server=NO_FILE),
    Row("Q6", "the file is on a network file system",
        "Refused with the reason, unless it is allowed. The kind of file system is feigned in the test.",
        no_server=NO_FILE),
    Row("Q7", "a fork with the file open",
        "The child touches nothing of it.", no_server="see W20"),
    Row("Q8", "the file is deleted or replaced while it is open",
        "Nothing more is written to what is left, in a sentence, and its successor is not harmed.", no_server=NO_FILE),
    Row("Q10", "the file is damaged",
        "Nothing more is written. The sentence says how to recover.", no_server=NO_FILE),
    Row("Q11", "a reader that does not end lets the log grow",
        "A warning with the size, again when it has doubled.", no_server=NO_FILE),
    Row("Q12", "no right to write the file, its folder or its file system",
        "Said in a sentence. The files that are made belong to their owner alone.", no_server="see R20"),
    Row("Q13", "the clock of the machine jumps",
        "A small step back stops the store's clock, a large one is followed with a warning.", no_server="see R22"),
)  # fmt: skip

DOORS: Final = (
    Row("S1", "an enqueue of `os.system`, `../x` or a name of 10 MB",
        "A name is looked up among the tasks and never imported. Unknown, it waits, then it is a dead letter."),
    Row("S2", "pickle, yaml or eval anywhere in the source",
        "None: read from the source by a test."),
    Row("S3", "line ends, escape codes and markup in names, ids, errors, arguments",
        "Names are checked at the door. A line of the log stays one line, a terminal is told no code, the dashboard "
        "shows text as text."),
    Row("S4", "the dashboard is reached from elsewhere",
        "Not from another host without a password, not by another site. No change by GET.",
        no_server="its doors ask no store: see the file"),
    Row("S5", "a stored exception names a class",
        "Exceptions are kept as words. Nothing is built from a stored name."),
    Row("S6", "secrets in arguments, URLs, tracebacks",
        "Passwords of URLs are never shown, arguments are not logged, local variables not stored."),
    Row("S7", "somebody who can write to the store changes a job",
        "Refused by its signature.", no_file=NOT_YET, no_server=NOT_YET),
)  # fmt: skip

SECTIONS: Final = {
    "Worker processes": WORKERS,
    "Servers and the network": SERVERS,
    "Time": TIME,
    "Data": DATA,
    "The SQLite file": FILE,
    "Doors": DOORS,
}
ROWS: Final = {row.id: row for rows in SECTIONS.values() for row in rows}

// Enqueues jobs from Node as docs/protocol.md says: no package, one socket; script, keys and arguments are the page's.
//
// node enqueue.mjs <page> <port> <namespace:queue>     reads {caller, call, tag, jobs: [...]} as JSON from stdin
// prints {"answers": [...]} or {"error": "..."}
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";

const [pagePath, port, queue] = process.argv.slice(2);
const page = readFileSync(pagePath, "utf8");
const call = JSON.parse(readFileSync(0, "utf8"));

const script = /^```lua\n(.*?)\n```$/ms.exec(page)[1];
const digest = createHash("sha1").update(script).digest("hex");
if (!page.includes("\n`" + digest + "`\n")) throw new Error("the page gives another SHA1 for its script");

/** The second column of the table that begins with this row. */
function listed(head) {
  const rows = page.slice(page.indexOf(head)).split("\n\n", 1)[0].split("\n").slice(2);
  return rows.filter((row) => row.startsWith("|")).map((row) => row.split("|")[2].trim().replaceAll("`", ""));
}

/** The eight words of a job. */
function words({ id, task, payload, options, headers, key, delayMs, priority = 5, until = "done", duplicate = "" }) {
  const delay = delayMs === undefined ? {} : { delay_ms: delayMs };
  const envelope = {
    version: 1, id, task, payload, key, headers, options: { ...options, ...delay }, created_ms: Date.now(),
  };
  const unique = key === undefined ? undefined : `${task} ${key}`;
  const traits = {
    priority: priority === 5 ? undefined : priority,
    unique,
    unique_until: unique && until !== "done" ? until : undefined,
  };
  const plain = Object.values(traits).every((trait) => trait === undefined);
  return [
    id, JSON.stringify(envelope), delayMs === undefined ? "" : `+${delayMs}`, priority, unique ?? "",
    unique === undefined ? "" : until, duplicate, plain ? "" : JSON.stringify(traits),
  ];
}

/** A command as the bytes that go out. */
function packed(command) {
  const items = command.map((word) => Buffer.from(String(word)));
  const parts = items.flatMap((item) => [Buffer.from(`$${item.length}\r\n`), item, Buffer.from("\r\n")]);
  return Buffer.concat([Buffer.from(`*${items.length}\r\n`), ...parts]);
}

/** A reply once it is whole: a text or an error. */
function read(bytes) {
  const end = bytes.indexOf("\r\n");
  if (end < 0) return undefined;
  const line = bytes.toString("utf8", 1, end);
  if (bytes[0] === 0x2d) return { error: line };
  const length = Number(line);
  if (bytes.length < end + 2 + length + 2) return undefined;
  return { text: bytes.toString("utf8", end + 2, end + 2 + length) };
}

const socket = connect(Number(port), "127.0.0.1");

/** One command and its reply. */
function say(command) {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const hear = (more) => {
      bytes = Buffer.concat([bytes, more]);
      const reply = read(bytes);
      if (reply === undefined) return;
      socket.off("data", hear);
      resolve(reply);
    };
    socket.on("data", hear);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the server closed the connection")));
    socket.write(packed(command));
  });
}

const named = { now: 0, caller: call.caller, call: call.call, tag: call.tag, max_length: -1, keep_ms: 300000, many: call.jobs.length };
const keys = listed("| place | key |").map((name) => `{${queue}}:${name}`);
const given = listed("| place | name | type | meaning |").filter((name) => name !== "rest").map((name) => named[name]);
const rest = [keys.length, ...keys, ...given, ...call.jobs.flatMap(words)];

let reply = await say(["EVALSHA", digest, ...rest]);
if (reply.error?.startsWith("NOSCRIPT")) reply = await say(["EVAL", script, ...rest]);
console.log(JSON.stringify(reply.error ? reply : { answers: reply.text.split("\n") }));
socket.removeAllListeners("close");
socket.end();

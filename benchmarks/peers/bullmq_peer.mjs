// BullMQ on Node: one worker in one process. The commands and the ledger are those of frame.py.
// It runs in the folder of its own environment, where npm put the package.
import { openSync, writeSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "x.js"));
const { Queue, Worker } = require("bullmq");
const env = process.env;
const AT_ONCE = Number(env.BENCH_AT_ONCE ?? 100);
const TEXT = env.BENCH_TEXT || "user@example.com";
const BATCH = 500, TOGETHER = 100, LATE_NS = 2_000_000n;
const url = new URL(env.BENCH_URL || "redis://127.0.0.1:6379");
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const options = {
  removeOnComplete: env.BENCH_JOB === "kept" ? { age: 300 } : true,
  removeOnFail: 1000,
};

class Ledger {
  constructor(path) {
    this.file = openSync(path, "a");
    this.rows = [];
    this.flushes = false;
  }
  note(n) {
    this.rows.push(n, process.hrtime.bigint());
    if (!this.flushes) {
      this.flushes = true;
      setInterval(() => this.flush(), 20).unref();
    }
  }
  flush() {
    const rows = this.rows;
    this.rows = [];
    const bytes = Buffer.alloc(rows.length * 8);
    for (let i = 0; i < rows.length; i += 2) {
      bytes.writeBigInt64LE(BigInt(rows[i]), i * 8);
      bytes.writeBigInt64LE(rows[i + 1], i * 8 + 8);
    }
    writeSync(this.file, bytes);
  }
}

const range = (start, end) => Array.from({ length: end - start }, (_, i) => start + i);
const put = (queue, n) => queue.add("noop", { n, to: TEXT }, options);
const putMany = (queue, numbers) =>
  queue.addBulk(numbers.map((n) => ({ name: "noop", data: { n, to: TEXT }, opts: options })));

async function enqueue(queue, form, many) {
  await queue.waitUntilReady();
  const begun = process.hrtime.bigint();
  if (form === "one") for (let n = 0; n < many; n++) await put(queue, n);
  else if (form === "many")
    for (let n = 0; n < many; n += BATCH) await putMany(queue, range(n, Math.min(n + BATCH, many)));
  else {
    let next = 0;
    const client = async () => { while (next < many) await put(queue, next++); };
    await Promise.all(range(0, TOGETHER).map(client));
  }
  return Number(process.hrtime.bigint() - begun) / 1e9;
}

async function send(queue, many, rate) {
  await queue.waitUntilReady();
  const moments = [], tasks = [], start = process.hrtime.bigint();
  for (let n = 0; n < many; n++) {
    const due = start + BigInt(Math.trunc((n * 1e9) / rate));
    const wait = Number(due - process.hrtime.bigint()) / 1e6;
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const now = process.hrtime.bigint();
    moments.push(Number(now - due > LATE_NS ? due : now));
    tasks.push(put(queue, n));
  }
  await Promise.all(tasks);
  return moments;
}

const [command, ...rest] = process.argv.slice(2);
if (command === "versions") {
  const read = (path) => JSON.parse(readFileSync(path)).version;
  console.log(JSON.stringify({ node: process.versions.node, bullmq: read("node_modules/bullmq/package.json") }));
} else if (command === "work") {
  const ledger = new Ledger(env.BENCH_LEDGER);
  const worker = new Worker("bench", async (job) => {
    ledger.note(job.data.n);
    return job.data.n;
  }, { connection, concurrency: AT_ONCE });
  worker.on("error", (error) => console.error(error));
  process.on("SIGTERM", async () => { await worker.close(); process.exit(0); });
} else if (command === "enqueue" && rest[0] === "sync") {
  console.log(JSON.stringify({ cannot: "no blocking enqueue" }));
} else {
  const queue = new Queue("bench", { connection });
  let answer = {};
  if (command === "fill") await enqueue(queue, "many", Number(rest[0]));
  else if (command === "enqueue") answer = { seconds: await enqueue(queue, rest[0], Number(rest[1])) };
  else if (command === "send") answer = { moments: await send(queue, Number(rest[0]), Number(rest[1])) };
  else throw new Error(`there is no command ${command}`);
  console.log(JSON.stringify(answer));
  await queue.close();
}

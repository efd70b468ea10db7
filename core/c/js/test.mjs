// Tests the module in Node.js: test.mjs WASM URL, where URL is the examples' scripted model.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test from "node:test";

import { ToolRunner, ToolRunnerError, load } from "./index.js";

const [wasm, baseUrl] = process.argv.slice(2);
const bytes = await readFile(wasm);
const module = await load(bytes);

const object = (properties) => ({ type: "object", properties, required: Object.keys(properties) });
const tools = [
  {
    name: "get_weather",
    description: "Get the current weather in a given location.",
    input_schema: object({ location: { type: "string" } }),
    run: async ({ location }) => ({ temperature: "20°C", condition: location === "Paris" ? "Sunny" : "Rainy" }),
  },
  {
    name: "calculate_sum",
    description: "Add two numbers together.",
    input_schema: object({ a: { type: "integer" }, b: { type: "integer" } }),
    run: ({ a, b }) => String(a + b),
  },
];
const options = { model: "claude-haiku-4-5", system: 'Say "hi".\n', tools, baseUrl };
const PROMPT = "What's the weather like in Paris? Also, what's 15 + 27?";
const ANSWER = "The weather in Paris: Sunny, 20°C. 15 + 27 = 42.";

/** Starts a server that answers each request with the next of these answers. */
async function serve(t, ...answers) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => answers.shift()(response));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

test("the module imports nothing", () => {
  assert.deepEqual(WebAssembly.Module.imports(module), []);
});

test("the codes are those of the header", async () => {
  const read = (name) => readFile(new URL(name, import.meta.url), "utf8");
  const [header, source] = await Promise.all([read("../include/toolrunner.h"), read("./index.js")]);
  const tables = source.slice(source.indexOf("const ABI"), source.indexOf("const encoder"));
  const { ABI, STEP, FAILED, OUTCOMES, ERRORS, LIMITS, EVENTS } = new Function(
    `${tables}return { ABI, STEP, FAILED, OUTCOMES, ERRORS, LIMITS, EVENTS };`,
  )();
  const defined = (kind) =>
    [...header.matchAll(new RegExp(`#define TOOLRUNNER_${kind}_(\\w+) (-?\\d+)$`, "gm"))].map(([, name, code]) => [name, Number(code)]);
  const listed = (kind) => defined(kind).map(([name, code]) => [Math.abs(code), name.toLowerCase()]);
  assert.match(header, new RegExp(`#define TOOLRUNNER_ABI ${ABI}$`, "m"));
  assert.deepEqual(Object.entries(STEP), defined("STEP"));
  assert.deepEqual(OUTCOMES.map((name, code) => [code, name]), listed("OUTCOME"));
  assert.deepEqual(EVENTS.map((name, code) => [code, name]), listed("EVENT"));
  assert.deepEqual(ERRORS.map((name, code) => [code, name]).slice(1), listed("ERROR"));
  const limits = Object.entries(LIMITS).map(([name, code]) => [name.replace(/[A-Z]/g, "_$&").toUpperCase(), code]);
  assert.deepEqual(limits, defined("LIMIT"));
  for (const [name, code] of Object.entries(FAILED)) assert.ok(defined("FAILED").some(([other, its]) => other === name && its === code), name);
});

test("a conversation streams text and runs tools", async () => {
  const run = new ToolRunner(module, options);
  const pieces = [];
  const results = [];
  const result = await run.ask(PROMPT, {
    onText: (text) => pieces.push(text),
    onResult: (call, result) => results.push(`${call.name} ${result}`),
  });
  assert.deepEqual([result.outcome, result.detail, result.text], ["ended", "end_turn", ANSWER]);
  assert.ok(pieces.length > 10 && pieces.join("").endsWith(ANSWER), pieces.join("|"));
  assert.deepEqual(results.sort(), ["calculate_sum 42", 'get_weather {"temperature":"20°C","condition":"Sunny"}']);
  assert.equal(run.messages().length, 4);
  assert.ok(result.usage.inputTokens > 0 && result.usage.outputTokens > 0);
});

test("a conversation without streaming", async () => {
  const result = await new ToolRunner(module, { ...options, stream: false }).ask(PROMPT);
  assert.equal(result.text, ANSWER);
});

test("a cancelled run keeps its conversation and goes on", async () => {
  const run = new ToolRunner(module, options);
  const cancelled = new AbortController();
  const result = await run.ask(PROMPT, { signal: cancelled.signal, onText: () => cancelled.abort() });
  assert.equal(result.outcome, "stopped");
  assert.deepEqual(run.messages(), [{ role: "user", content: PROMPT }]);
  run.resume();
  assert.equal((await run.run()).text, ANSWER);
});

/** Returns a `fetch` whose replies are a text as a stream of events. `isLeftOpen`: their bodies do not end. */
function streams(isLeftOpen, ends) {
  const text = [
    { type: "message_start", message: { id: "m", type: "message", role: "assistant", model: "m", content: [], usage: {} } },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hi." } },
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 1 } },
    { type: "message_stop" },
  ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  const body = () => new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text.join("")));
      if (!isLeftOpen) controller.close();
    },
    cancel: ends,
  });
  return async () => new Response(body(), { headers: { "content-type": "text/event-stream" } });
}

test("a run leaves no timer and no listener", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const { signal } = new AbortController();
  const run = new ToolRunner(module, { ...options, fetch: streams(false) });
  for (let i = 0; i < 3; i++) assert.equal((await run.ask("Hi", { signal })).text, "Hi.");
  // The calls of a turn; `fetch` keeps a listener of its own until it is collected.
  const request = (url, { signal: _, ...rest }) => fetch(url, rest);
  const calling = new ToolRunner(module, { ...options, fetch: request });
  assert.equal((await calling.ask(PROMPT, { signal })).text, ANSWER);
  assert.equal(timers(), before);
  assert.deepEqual(getEventListeners(signal, "abort"), []);
});

test("a body that does not end after the reply is abandoned after a second", async () => {
  let ended = false;
  const run = new ToolRunner(module, { ...options, fetch: streams(true, () => (ended = true)) });
  const start = performance.now();
  assert.equal((await run.ask("Hi")).text, "Hi.");
  const ms = performance.now() - start;
  assert.ok(ms > 900 && ms < 10000, `${ms} ms`);
  assert.ok(ended);
});

test("calls that are cancelled are answered as cancelled", async () => {
  const cancelled = new AbortController();
  const slow = { ...tools[1], run: () => new Promise(() => setTimeout(() => cancelled.abort(), 10)) };
  const run = new ToolRunner(module, { ...options, tools: [slow] });
  assert.equal((await run.ask("15 + 27", { signal: cancelled.signal })).outcome, "stopped");
  run.resume();
  const text = (await run.run()).text;
  assert.match(JSON.stringify(run.messages()), /cancelled/, text);
});

test("a gate denies", async () => {
  const run = new ToolRunner(module, options);
  await run.ask(PROMPT, { gate: (call) => call.name === "calculate_sum" || { deny: "Not today." } });
  const results = run.messages()[2].content;
  assert.deepEqual(results.map((result) => [result.content, result.is_error]), [["Not today.", true], ["42", undefined]]);
});

test("a gate that denies without a reason, and one that decides nothing", async () => {
  const run = new ToolRunner(module, options);
  await run.ask("15 + 27", { gate: () => ({ deny: "" }) });
  assert.deepEqual(run.messages()[2].content.map(({ content, is_error }) => [content, is_error]), [["Error: not allowed", true]]);
  for (const decision of [false, null, "suspended", {}, { deny: true }]) {
    const run = new ToolRunner(module, options);
    await assert.rejects(run.ask("15 + 27", { gate: () => decision }), TypeError);
  }
});

test("a tool without a function is not found", async () => {
  const { run: _, ...declared } = tools[1];
  const run = new ToolRunner(module, { ...options, tools: [declared] });
  const results = [];
  await run.ask("15 + 27", { onResult: (call) => results.push(call) });
  const [answer] = run.messages()[2].content;
  assert.deepEqual([answer.content, answer.is_error], ["Error: Tool 'calculate_sum' not found", true]);
  assert.deepEqual(results, []);
});

test("an allowed call whose tool is gone is answered by the module", async () => {
  const first = new ToolRunner(module, options);
  await first.ask("15 + 27", { gate: async () => "suspend" });
  const second = new ToolRunner(module, { ...options, tools: [tools[0]], snapshot: first.snapshot() });
  await second.allow(second.suspended());
  assert.equal(second.messages()[2].content[0].content, "Error: Tool 'calculate_sum' not found");
});

test("unknown codes are errors", async () => {
  // The module with other numbers in its place, as a later version might return them.
  const changed = (name, code) => {
    const { Instance } = WebAssembly;
    WebAssembly.Instance = function (...given) {
      const { exports } = new Instance(...given);
      return { exports: { ...exports, [name]: () => code } };
    };
    try {
      return new ToolRunner(module, options);
    } finally {
      WebAssembly.Instance = Instance;
    }
  };
  await assert.rejects(changed("toolrunner_step", 5).ask("Hi"), /unknown step 5/);
  assert.throws(() => changed("toolrunner_outcome", 6).outcome(), /unknown code 6/);
  assert.throws(() => changed("toolrunner_cancel", -6).cancel(), /unknown code 6/);
});

test("a suspended call waits in a snapshot", async () => {
  const first = new ToolRunner(module, options);
  const result = await first.ask("15 + 27", { gate: async () => "suspend" });
  assert.equal(result.outcome, "needs_answer");
  const second = new ToolRunner(module, { ...options, snapshot: first.snapshot() });
  const call = second.suspended();
  assert.deepEqual([call.name, call.input], ["calculate_sum", { a: 15, b: 27 }]);
  assert.equal((await second.allow(call)).text, "15 + 27 = 42.");
});

test("an allowed call can be cancelled, and does not start after that", async () => {
  let started = 0;
  const stuck = { ...tools[1], run: () => (started++, new Promise(() => {})) };
  const run = new ToolRunner(module, { ...options, tools: [stuck] });
  await run.ask("15 + 27", { gate: async () => "suspend" });
  await run.allow(run.suspended(), { signal: AbortSignal.abort() });
  assert.equal(started, 0);
  run.resume();
  const cancelled = new AbortController();
  setTimeout(() => cancelled.abort(), 10);
  assert.equal((await run.allow(run.suspended(), { signal: cancelled.signal })).outcome, "stopped");
});

test("an array without blocks is sent as JSON, and no result as no output", async () => {
  for (const [result, text] of [[[1, 2], "[1,2]"], [[], "[]"], [[{ n: 1 }], '[{"n":1}]'], [undefined, "(no output)"]]) {
    const run = new ToolRunner(module, { ...options, tools: [{ ...tools[1], run: () => result }] });
    await run.ask("15 + 27");
    assert.equal(run.messages()[2].content[0].content, text);
  }
  const blocks = [{ type: "text", text: "42" }];
  const run = new ToolRunner(module, { ...options, tools: [{ ...tools[1], run: () => blocks }] });
  await run.ask("15 + 27");
  assert.deepEqual(run.messages()[2].content[0].content, blocks);
});

test("a result that JSON cannot express is an error of the tool", async () => {
  for (const result of [{ n: 1n }, [{ type: "text", text: 1n }]]) {
    const run = new ToolRunner(module, { ...options, tools: [{ ...tools[1], run: () => result }] });
    await run.ask("15 + 27");
    assert.match(run.messages()[2].content[0].content, /^Error: .*BigInt/);
  }
});

test("what a tool throws the model reads", async () => {
  for (const [thrown, text] of [[new Error("no numbers"), "Error: no numbers"], [new Error(""), "Error: (no message)"], ["plain", "Error: plain"]]) {
    const broken = { ...tools[1], run: () => { throw thrown; } };
    const run = new ToolRunner(module, { ...options, tools: [broken] });
    const results = [];
    await run.ask("15 + 27", { onResult: (call, ...result) => results.push(result) });
    const [answer] = run.messages()[2].content;
    assert.deepEqual([answer.content, answer.is_error], [text, true]);
    assert.deepEqual(results, [[text, true]]);
  }
});

test("errors are retried, and told in words", async (t) => {
  const error = (status, fields, type, message) => (response) =>
    response.writeHead(status, fields).end(JSON.stringify({ type: "error", error: { type, message } }));
  const url = await serve(
    t,
    error(529, { "retry-after-ms": "20" }, "overloaded_error", "Busy"),
    (response) => response.destroy(),
    error(400, { "request-id": "req_7" }, "invalid_request_error", "Ünfit"),
  );
  const run = new ToolRunner(module, { ...options, baseUrl: url });
  await assert.rejects(run.ask("Hi"), (error) => {
    assert.ok(error instanceof ToolRunnerError);
    assert.equal(error.kind, "api");
    assert.equal(error.message, "API error: invalid_request_error (status 400): Ünfit [request id req_7]");
    return true;
  });
});

test("what callbacks throw reaches the caller, and the run goes on", async () => {
  const run = new ToolRunner(module, options);
  const onText = () => { throw new TypeError("mine"); };
  await assert.rejects(run.ask(PROMPT, { onText }), /mine/);
  assert.equal((await run.run()).text, ANSWER);
});

test("calls end before what a gate throws reaches the caller", async () => {
  let ended = 0;
  const slow = { ...tools[0], run: () => new Promise((done) => setTimeout(() => done(String(++ended)), 30)) };
  const run = new ToolRunner(module, { ...options, tools: [slow, tools[1]] });
  const gate = (call) => {
    if (call.name === "calculate_sum") throw new TypeError("mine");
    return true;
  };
  await assert.rejects(run.ask(PROMPT, { gate }), /mine/);
  assert.equal(ended, 1);
});

test("what cannot be is refused with its reason", () => {
  const refused = (changes, reason) => assert.throws(() => new ToolRunner(module, { ...options, ...changes }), reason);
  refused({ model: 'a"b' }, /model/);
  refused({ baseUrl: "nowhere" }, /http/);
  refused({ tools: [{ name: "a b", input_schema: { type: "object" } }] }, /name of tool 0/);
  refused({ limits: { wrong: 1 } }, /LIMIT/);
  refused({ memory: 16, snapshot: new ToolRunner(module, options).snapshot().replace("ready", "nope") }, /sum/);
  const small = new ToolRunner(module, { ...options, memory: 64 });
  assert.throws(() => small.user("x".repeat(100_000)), /transcript full: 100028 needed, 64 free/);
});

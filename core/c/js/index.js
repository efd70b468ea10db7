// Drives toolrunner's machine, a WebAssembly module that imports nothing, with `fetch`.
//
// The module decides which requests to send, which calls to run and when to retry. This file
// carries bytes and runs the tools. It works in browsers and in Node.js 20 or later. index.d.ts
// documents it.

const ABI = 1;
const PAGE = 65536;
/** The sizes in bytes of the memory for functions' results, and for data passed in pieces. */
const SCRATCH = 256;
const CHUNK = 16 * 1024;

// The codes of the module's functions. test.mjs compares them with the header.
const STEP = { DONE: 0, SEND: 1, CALL: 2, WAIT: 3, RECEIVE: 4 };
const FAILED = { GIVEN_UP: 0, CLOSED: 1, CONNECT: 2 };
const OUTCOMES = ["none", "ended", "limit", "needs_answer", "stopped", "other"];
const ERRORS = ["", "api", "capacity", "misuse", "protocol", "transport"];
const LIMITS = { turns: 1, calls: 2, inputTokens: 3, outputTokens: 4, timeMs: 5, repeats: 6 };
const EVENTS = [
  "none", "message_start", "block_start", "text", "thinking", "input", "block_stop", "stop", "message_stop", "other",
];

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Returns the name of a code. A code without a name is that of another module. */
const named = (names, code) => {
  if (names[code] === undefined) throw new Error(`the module returned the unknown code ${code}`);
  return names[code];
};
const unescape = (inside) => JSON.parse(`"${inside}"`);
const now = () => BigInt(Math.round(performance.now()));
/** Waits for a promise, at most until the signal is aborted. Leaves no listener: the signal may outlive many runs. */
const orAborted = async (promise, signal) => {
  if (!signal) return promise;
  let end;
  const aborted = new Promise((done) => {
    end = () => done();
    if (signal.aborted) done();
    else signal.addEventListener("abort", end);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", end);
  }
};
/** Waits for this time, or less if the promise is settled or the signal aborted. Leaves no timer, which would keep the program alive. */
const wait = async (ms, signal, promise = new Promise(() => {})) => {
  let timer;
  const late = new Promise((done) => {
    timer = setTimeout(done, ms);
  });
  try {
    await orAborted(Promise.race([promise, late]), signal);
  } finally {
    clearTimeout(timer);
  }
};

/** A failure of the network, to distinguish it from an error that a callback throws. */
class Broken extends Error {}
const carried = (promise) =>
  promise.catch((cause) => {
    throw new Broken("the network failed", { cause });
  });

export class ToolRunnerError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = "ToolRunnerError";
    this.kind = kind;
  }
}

export async function load(source = new URL("./toolrunner.wasm", import.meta.url)) {
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof URL || typeof source === "string") {
    if (String(source).startsWith("file:")) {
      source = await (await import("node:fs/promises")).readFile(new URL(source));
    } else {
      const response = await fetch(source);
      if (!response.ok) throw new Error(`the module is not at ${source}: status ${response.status}`);
      source = await response.arrayBuffer();
    }
  }
  return WebAssembly.compile(source);
}

export class ToolRunner {
  #wasm;
  #machine;
  #tools;
  #fetch;
  #headers;
  /** Positions in the module's memory. The memory from `#end` on is free. */
  #scratch;
  #chunk;
  #end;

  constructor(module, options) {
    this.#wasm = new WebAssembly.Instance(module, {}).exports;
    if (this.#wasm.toolrunner_abi() !== ABI) {
      throw new ToolRunnerError("misuse", "the module has a different interface version than this file");
    }
    this.#tools = options.tools ?? [];
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
    this.#headers = options.headers ?? {};
    this.#begin(options);
    for (const [name, most] of Object.entries(options.limits ?? {})) {
      // The module refuses 0, which is no limit.
      this.#check(this.#wasm.toolrunner_limit(this.#machine, LIMITS[name] ?? 0, BigInt(most)));
    }
  }

  /**
   * Lays out the memory: scratch, chunk, machine, configuration, its texts, and the conversation.
   */
  #begin(options) {
    const definitions = this.#tools.map(({ run, ...definition }) => definition);
    const texts = [
      options.model,
      options.system,
      definitions.length > 0 ? JSON.stringify(definitions) : undefined,
      options.params && JSON.stringify(options.params).slice(1, -1),
      options.baseUrl,
      options.path,
      options.apiKey,
      options.authorization,
      options.betas?.join(","),
    ].map((text) => text && encoder.encode(`${text}\0`));
    const { memory = 1024 * 1024, snapshot } = options;
    let at = this.#wasm.__heap_base.value;
    const take = (bytes) => {
      const place = (at + 15) & ~15;
      at = place + bytes;
      return place;
    };
    this.#scratch = take(SCRATCH);
    this.#chunk = take(CHUNK);
    this.#machine = take(this.#wasm.toolrunner_size());
    const config = take(8 + 4 * texts.length + 8);
    const places = texts.map((text) => (text ? take(text.length) : 0));
    const conversation = take(memory);
    this.#end = take(0);
    this.#reserve(this.#end);
    texts.forEach((text, i) => text && this.#bytes().set(text, places[i]));
    const numbers = [ABI, options.maxTokens ?? 1024, ...places, options.stream === false ? 1 : 0, 0];
    numbers.forEach((number, i) => this.#view().setUint32(config + 4 * i, number, true));
    if (snapshot === undefined) {
      this.#check(this.#wasm.toolrunner_init(this.#machine, config, conversation, memory));
    } else {
      this.#check(this.#wasm.toolrunner_restore(this.#machine, config, conversation, memory, ...this.#lend(snapshot)));
    }
  }

  // ---- messages and state ----

  user(text) {
    this.#check(this.#wasm.toolrunner_user(this.#machine, ...this.#lend(text)));
  }

  append(...messages) {
    const json = messages.map((message) => JSON.stringify(message)).join(",");
    this.#check(this.#wasm.toolrunner_append(this.#machine, ...this.#lend(json)));
  }

  clear() {
    this.#check(this.#wasm.toolrunner_clear(this.#machine));
  }

  messages() {
    this.#wasm.toolrunner_messages(this.#machine, this.#scratch);
    return JSON.parse(`[${this.#lent(this.#scratch)}]`);
  }

  text() {
    return this.#told("toolrunner_last_text");
  }

  outcome() {
    const outcome = this.#check(this.#wasm.toolrunner_outcome(this.#machine, this.#scratch));
    return { outcome: named(OUTCOMES, outcome), detail: this.#lent(this.#scratch) };
  }

  usage() {
    this.#check(this.#wasm.toolrunner_tokens(this.#machine, this.#scratch));
    const count = (i) => Number(this.#view().getBigUint64(this.#scratch + 8 * i, true));
    return { inputTokens: count(0), outputTokens: count(1), cacheCreationInputTokens: count(2), cacheReadInputTokens: count(3) };
  }

  snapshot() {
    // The first call returns the length, the second one the snapshot.
    this.#wasm.toolrunner_snapshot(this.#machine, 0, 0, this.#scratch);
    const length = this.#view().getUint32(this.#scratch, true);
    this.#reserve(this.#end + length);
    this.#check(this.#wasm.toolrunner_snapshot(this.#machine, this.#end, length, this.#scratch));
    return decoder.decode(new Uint8Array(this.#wasm.memory.buffer, this.#end, length));
  }

  cancel() {
    this.#check(this.#wasm.toolrunner_cancel(this.#machine));
  }

  resume() {
    this.#check(this.#wasm.toolrunner_resume(this.#machine));
  }

  suspended() {
    const code = this.#check(this.#wasm.toolrunner_suspended(this.#machine, this.#scratch));
    return code === 1 ? this.#call() : undefined;
  }

  answer(call, result, isError = false) {
    const by = typeof result === "string" ? "toolrunner_answer" : "toolrunner_answer_json";
    const text = typeof result === "string" ? result : JSON.stringify(result);
    this.#check(this.#wasm[by](this.#machine, call.index, ...this.#lend(text), isError ? 1 : 0));
  }

  // ---- the loop ----

  async ask(text, options) {
    this.user(text);
    return this.run(options);
  }

  async run(options = {}) {
    const { signal } = options;
    for (;;) {
      if (signal?.aborted) this.cancel();
      const step = this.#check(this.#wasm.toolrunner_step(this.#machine, now(), this.#scratch));
      switch (step) {
        case STEP.DONE:
          return { ...this.outcome(), text: this.text(), usage: this.usage() };
        case STEP.SEND:
          await this.#exchange(options);
          break;
        case STEP.CALL:
          await this.#runCalls(options);
          break;
        case STEP.WAIT:
          await wait(Number(this.#view().getBigUint64(this.#scratch, true) - now()), signal);
          break;
        case STEP.RECEIVE:
          // An error of a callback interrupted the reply.
          this.#failed(FAILED.GIVEN_UP);
          break;
        default:
          throw new Error(`the module returned the unknown step ${step}`);
      }
    }
  }

  /** Runs a suspended call, then continues the run. */
  async allow(call, options = {}) {
    const { signal } = options;
    // The call stays suspended.
    if (signal?.aborted) return this.run(options);
    const code = this.#check(this.#wasm.toolrunner_allow(this.#machine, call.index, this.#scratch));
    // Otherwise the module has answered the call.
    if (code === 0) await orAborted(this.#runTool(call, options), signal);
    return this.run(options);
  }

  /** Sends one request and reads its reply. */
  async #exchange(options) {
    const wasm = this.#wasm;
    const { signal } = options;
    wasm.toolrunner_url(this.#machine, this.#scratch, this.#scratch + 8);
    const url = this.#lent(this.#scratch) + this.#lent(this.#scratch + 8);
    const headers = {};
    for (let i = 0; wasm.toolrunner_field(this.#machine, i, this.#scratch, this.#scratch + 8) === 1; i++) {
      headers[this.#lent(this.#scratch)] = this.#lent(this.#scratch + 8);
    }
    const body = new Uint8Array(wasm.toolrunner_body_len(this.#machine));
    for (let at = 0; at < body.length; ) {
      const length = this.#check(wasm.toolrunner_body(this.#machine, at, this.#chunk, CHUNK));
      body.set(new Uint8Array(wasm.memory.buffer, this.#chunk, length), at);
      at += length;
    }
    let reader;
    let why = FAILED.CONNECT;
    try {
      const response = await carried(
        this.#fetch(url, { method: "POST", headers: { ...headers, ...this.#headers }, body, signal }),
      );
      why = FAILED.CLOSED;
      this.#check(wasm.toolrunner_reply(this.#machine, response.status));
      for (const [name, value] of response.headers) {
        const [place, length] = this.#lend(name + value);
        const nameLength = encoder.encode(name).length;
        wasm.toolrunner_reply_field(this.#machine, place, nameLength, place + nameLength, length - nameLength);
      }
      reader = response.body.getReader();
      for (;;) {
        const { done, value } = await carried(reader.read());
        if (done) break;
        this.#feed(value, options);
        if (wasm.toolrunner_reply_is_whole(this.#machine) === 1) {
          // Reads the rest of the body, so that the connection can be used again.
          const rest = async () => { while (!(await reader.read()).done); };
          await wait(wasm.toolrunner_drain_ms(), signal, rest()).catch(() => {});
          return;
        }
      }
      this.#events(() => wasm.toolrunner_end_of_body(this.#machine, this.#scratch + 8), options);
    } catch (error) {
      if (signal?.aborted) return this.cancel();
      // The machine knows about its own errors. An error of a callback goes to the caller, and the
      // next run requests the reply again.
      if (!(error instanceof ToolRunnerError) && !(error instanceof Broken)) throw error;
      this.#failed(why);
    } finally {
      reader?.cancel().catch(() => {});
    }
  }

  #feed(bytes, options) {
    for (let at = 0; at < bytes.length; at += CHUNK) {
      const piece = bytes.subarray(at, at + CHUNK);
      this.#bytes().set(piece, this.#chunk);
      let read = 0;
      this.#events(() => {
        const code = this.#wasm.toolrunner_feed(
          this.#machine, this.#chunk + read, piece.length - read, this.#scratch, this.#scratch + 8,
        );
        read += this.#view().getUint32(this.#scratch, true);
        return code;
      }, options);
    }
  }

  /** Reports events until there are no more. */
  #events(next, { onText, onEvent }) {
    while (this.#check(next()) === 1) {
      const view = this.#view();
      const kind = named(EVENTS, view.getUint32(this.#scratch + 8, true));
      if (!onEvent && !(onText && kind === "text")) continue;
      const index = view.getUint32(this.#scratch + 12, true);
      const data = this.#lent(this.#scratch + 16);
      if (kind === "text") onText?.(unescape(data));
      onEvent?.({ kind, index, data: kind === "text" || kind === "thinking" ? unescape(data) : data });
    }
  }

  #failed(why) {
    this.#check(this.#wasm.toolrunner_failed(this.#machine, why, now(), Math.floor(Math.random() * 2 ** 31)));
  }

  /** Runs the turn's calls concurrently. */
  async #runCalls(options) {
    const { signal } = options;
    const calls = [];
    while (this.#check(this.#wasm.toolrunner_next_call(this.#machine, this.#scratch)) === 1) calls.push(this.#call());
    // All calls end before an error is thrown, because their indices mean other calls in the next
    // turn: a call that ended later would answer one of those.
    const ends = await orAborted(Promise.allSettled(calls.map((call) => this.#decide(call, options))), signal);
    const failed = Array.isArray(ends) && ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
  }

  async #decide(call, options) {
    const decision = await options.gate?.(call);
    if (options.signal?.aborted) return;
    if (decision === undefined || decision === true) {
      await this.#runTool(call, options);
    } else if (decision === "suspend") {
      this.#check(this.#wasm.toolrunner_suspend(this.#machine, call.index));
    } else if (typeof decision?.deny === "string") {
      this.#check(this.#wasm.toolrunner_deny(this.#machine, call.index, ...this.#lend(decision.deny)));
    } else {
      throw new TypeError('a gate must return true, { deny: "…" }, "suspend" or undefined');
    }
  }

  async #runTool(call, { signal, onResult }) {
    const tool = this.#tools[call.tool];
    if (!tool?.run) {
      this.#check(this.#wasm.toolrunner_not_found(this.#machine, call.index));
      return;
    }
    let answer;
    try {
      const result = await tool.run(call.input, { id: call.id, json: call.json, signal });
      const isText = typeof result === "string";
      const isBlocks = Array.isArray(result) && result.length > 0 && result.every((block) => typeof block?.type === "string");
      // JSON that cannot be written is an error of the tool, also for an array of blocks.
      const json = isText ? undefined : JSON.stringify(result);
      // What JSON cannot express, such as undefined, is an empty result.
      const content = isText || isBlocks ? result : (json ?? "");
      answer = () => this.answer(call, content);
    } catch (error) {
      const message = String(error?.message ?? error);
      answer = () =>
        this.#check(this.#wasm.toolrunner_answer_failed(this.#machine, call.index, ...this.#lend(message)));
    }
    // The machine has answered the call as cancelled, or is about to.
    if (signal?.aborted) return;
    answer();
    if (!onResult) return;
    const code = this.#check(this.#wasm.toolrunner_result(this.#machine, call.index, this.#scratch));
    onResult(call, JSON.parse(this.#lent(this.#scratch)), code === 2);
  }

  // ---- the module's memory ----

  #bytes() {
    return new Uint8Array(this.#wasm.memory.buffer);
  }

  #view() {
    return new DataView(this.#wasm.memory.buffer);
  }

  #reserve(end) {
    const missing = end - this.#wasm.memory.buffer.byteLength;
    if (missing > 0) this.#wasm.memory.grow(Math.ceil(missing / PAGE));
  }

  /** Copies a text to where the module can read it during the next call. */
  #lend(text) {
    const bytes = encoder.encode(text);
    this.#reserve(this.#end + bytes.length);
    this.#bytes().set(bytes, this.#end);
    return [this.#end, bytes.length];
  }

  /** Returns the text that the `toolrunner_text` at this position refers to. */
  #lent(place) {
    const view = this.#view();
    const [start, length] = [view.getUint32(place, true), view.getUint32(place + 4, true)];
    return decoder.decode(new Uint8Array(this.#wasm.memory.buffer, start, length));
  }

  /** Returns a text that a function writes, without the zero at its end. */
  #told(by) {
    const length = this.#wasm[by](this.#machine, 0, 0);
    this.#reserve(this.#end + length + 1);
    this.#wasm[by](this.#machine, this.#end, length + 1);
    return decoder.decode(new Uint8Array(this.#wasm.memory.buffer, this.#end, length));
  }

  /** Returns the call that a function has written to the scratch memory. */
  #call() {
    const view = this.#view();
    const json = this.#lent(this.#scratch + 32);
    return {
      index: view.getUint32(this.#scratch, true),
      tool: view.getInt32(this.#scratch + 4, true),
      id: unescape(this.#lent(this.#scratch + 8)),
      name: unescape(this.#lent(this.#scratch + 16)),
      input: JSON.parse(json),
      json,
    };
  }

  #check(code) {
    if (code < 0) throw new ToolRunnerError(named(ERRORS, -code), this.#told("toolrunner_error_text"));
    return code;
  }
}

/** A tool: its definition in the API's form, and the function that runs it. */
export interface Tool {
  name?: string;
  description?: string;
  input_schema?: object;
  /**
   * Returns the result: a text, an array of content blocks (each with a `type`), or any other
   * value, which is sent as JSON. For `undefined` the model receives `(no output)`. If it throws,
   * the model receives the error's message. Without this function, the model receives an error that
   * the tool was not found.
   */
  run?(input: any, context: { id: string; json: string; signal?: AbortSignal }): unknown;
  [member: string]: unknown;
}

export interface Options {
  model: string;
  /** The maximum number of tokens of a reply. Default 1024. */
  maxTokens?: number;
  system?: string;
  tools?: Tool[];
  /** Other members of the request's body, such as `{ thinking: { type: "adaptive" } }`. */
  params?: Record<string, unknown>;
  /** Default: https://api.anthropic.com. In a page, use your own server and let it add the key. */
  baseUrl?: string;
  path?: string;
  apiKey?: string;
  /** The value of the `authorization` header, used instead of `apiKey`. */
  authorization?: string;
  betas?: string[];
  /** Additional headers. */
  headers?: Record<string, string>;
  /** Whether to stream replies. Default true. */
  stream?: boolean;
  /** The number of bytes for the conversation. Default 1 MiB. */
  memory?: number;
  /** A result of `snapshot`, from which the run continues. */
  snapshot?: string;
  limits?: Partial<Record<"turns" | "calls" | "inputTokens" | "outputTokens" | "timeMs" | "repeats", number>>;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
}

export interface Call {
  index: number;
  /** The tool's index in `tools`, or -1 for a member of a toolset. */
  tool: number;
  id: string;
  name: string;
  input: any;
  /** The input's original JSON text, for numbers that JavaScript cannot represent. */
  json: string;
}

export interface Event {
  kind: "message_start" | "block_start" | "text" | "thinking" | "input" | "block_stop" | "stop" | "message_stop" | "other";
  index: number;
  /**
   * The text for `text` and `thinking`, a part of JSON for `input`, a stop reason for `stop`, and
   * JSON otherwise.
   */
  data: string;
}

export interface RunOptions {
  /** Cancels the run: an unfinished reply is removed, and the outcome is `stopped`. */
  signal?: AbortSignal;
  onText?(text: string): void;
  onEvent?(event: Event): void;
  /** Reports what the model receives for a call that ran: a text, or an array of content blocks. */
  onResult?(call: Call, result: string | object[], isError: boolean): void;
  /** Decides about each call before it runs. */
  gate?(call: Call): Decision | undefined | Promise<Decision | undefined>;
}

/**
 * `true` runs the call. `deny` does not run it and sends the text to the model, or `Error: not
 * allowed` if the text is empty. `"suspend"` ends the run with `needs_answer`. `undefined` means
 * `true`. Any other value is an error.
 */
export type Decision = true | { deny: string } | "suspend";

export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheCreationInputTokens: number;
  cacheReadInputTokens: number;
}

export interface Result {
  outcome: "none" | "ended" | "limit" | "needs_answer" | "stopped" | "other";
  /** The stop reason, or the name of the limit. */
  detail: string;
  /** The text of the model's last message. */
  text: string;
  usage: Usage;
}

export class ToolRunnerError extends Error {
  kind: "api" | "capacity" | "misuse" | "protocol" | "transport";
}

/**
 * Compiles the module from a URL or from its bytes. Default: `toolrunner.wasm` beside this file.
 */
export function load(source?: URL | string | BufferSource | WebAssembly.Module): Promise<WebAssembly.Module>;

/** A conversation. Each has its own instance of the module, with its own memory. */
export class ToolRunner {
  constructor(module: WebAssembly.Module, options: Options);
  /** Appends a message and runs the loop until it ends. After an error, `run` continues it. */
  ask(text: string, options?: RunOptions): Promise<Result>;
  run(options?: RunOptions): Promise<Result>;
  user(text: string): void;
  append(...messages: object[]): void;
  /** Removes the whole conversation, so that the next message begins a new one. */
  clear(): void;
  messages(): any[];
  text(): string;
  outcome(): { outcome: Result["outcome"]; detail: string };
  usage(): Usage;
  /** Returns the run as text, from which another one can continue; see `Options.snapshot`. */
  snapshot(): string;
  /** Ends the run in its current state. Call it only between runs; use `signal` during one. */
  cancel(): void;
  resume(): void;
  /** Returns the next call that waits for a decision. */
  suspended(): Call | undefined;
  /** Runs a suspended call and continues the run. */
  allow(call: Call, options?: RunOptions): Promise<Result>;
  /** Answers a suspended call. */
  answer(call: Call, result: string | object[], isError?: boolean): void;
}

/** One tool: its definition as the API takes it, and what runs it. */
export interface Tool {
  name?: string;
  description?: string;
  input_schema?: object;
  /** Gives the result: a text, an array of content blocks, or anything else, which is sent as JSON. What it throws the model reads. */
  run?(input: any, context: { id: string; json: string; signal?: AbortSignal }): unknown;
  [member: string]: unknown;
}

export interface Options {
  model: string;
  /** Most tokens of a reply. Default 1024. */
  maxTokens?: number;
  system?: string;
  tools?: Tool[];
  /** Further members of the request's body, such as `{ thinking: { type: "adaptive" } }`. */
  params?: Record<string, unknown>;
  /** Default: https://api.anthropic.com. From a page, your own server is the place for the key. */
  baseUrl?: string;
  path?: string;
  apiKey?: string;
  /** The value of `authorization`, used instead of `apiKey`. */
  authorization?: string;
  betas?: string[];
  /** Further header fields. */
  headers?: Record<string, string>;
  /** Whether replies are streamed. Default true. */
  stream?: boolean;
  /** Bytes for the conversation. Default 1 MiB. */
  memory?: number;
  /** What `snapshot` gave: the run goes on from there. */
  snapshot?: string;
  limits?: Partial<Record<"turns" | "calls" | "inputTokens" | "outputTokens" | "timeMs" | "repeats", number>>;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
}

export interface Call {
  index: number;
  /** The tool's place in `tools`; -1 for a member of a toolset. */
  tool: number;
  id: string;
  name: string;
  input: any;
  /** The input as it came, for numbers that JavaScript cannot hold. */
  json: string;
}

export interface Event {
  kind: "message_start" | "block_start" | "text" | "thinking" | "input" | "block_stop" | "stop" | "message_stop" | "other";
  index: number;
  /** The text of `text` and `thinking`; otherwise JSON, a part of JSON (`input`), or a stop reason (`stop`). */
  data: string;
}

export interface RunOptions {
  /** Cancels the run: a reply under way is taken back, and the outcome is `stopped`. */
  signal?: AbortSignal;
  onText?(text: string): void;
  onEvent?(event: Event): void;
  onResult?(call: Call, result: unknown, isError: boolean): void;
  /** Decides about each call before it runs. */
  gate?(call: Call): Decision | undefined | Promise<Decision | undefined>;
}

/** `true`: it runs. `deny`: it does not, and the model reads the text. `"suspend"`: the run ends with `needs_answer`. */
export type Decision = true | { deny: string } | "suspend";

export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheCreationInputTokens: number;
  cacheReadInputTokens: number;
}

export interface Result {
  outcome: "none" | "ended" | "limit" | "needs_answer" | "stopped" | "other";
  /** The stop reason, or the limit. */
  detail: string;
  /** The text of the model's last message. */
  text: string;
  usage: Usage;
}

export class ToolRunnerError extends Error {
  kind: "api" | "capacity" | "misuse" | "protocol" | "transport";
}

/** Compiles the module: from its URL, or its bytes. Default: the file beside this one. */
export function load(source?: URL | string | BufferSource | WebAssembly.Module): Promise<WebAssembly.Module>;

/** A conversation. Each has an instance of the module, with memory of its own. */
export class ToolRunner {
  constructor(module: WebAssembly.Module, options: Options);
  /** Says something and runs the loop until it is over. After an error `run` goes on. */
  ask(text: string, options?: RunOptions): Promise<Result>;
  run(options?: RunOptions): Promise<Result>;
  user(text: string): void;
  append(...messages: object[]): void;
  messages(): any[];
  text(): string;
  outcome(): { outcome: Result["outcome"]; detail: string };
  usage(): Usage;
  /** The run as text, from which another goes on: see `Options.snapshot`. */
  snapshot(): string;
  /** Ends the run where it is; only between `run`s. While one is under way use its `signal`. */
  cancel(): void;
  resume(): void;
  /** The next call that waits for a decision. */
  suspended(): Call | undefined;
  /** Runs a suspended call and goes on. */
  allow(call: Call, options?: RunOptions): Promise<Result>;
  /** Answers a suspended call. */
  answer(call: Call, result: string | object[], isError?: boolean): void;
}

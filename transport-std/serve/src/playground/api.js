// The parts of the server's HTTP interface that the page uses. Paths are relative, so that a proxy
// may add a prefix.

const TOKEN = "toolrunner.token";

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const setToken = (token) => sessionStorage.setItem(TOKEN, token);

export async function request(method, path, { body, headers = {}, signal } = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const all = { ...headers };
  if (token) all.authorization = `Bearer ${token}`;
  if (body !== undefined) all["content-type"] = "application/json";
  const response = await fetch(path, { method, headers: all, body: body === undefined ? undefined : JSON.stringify(body), signal });
  if (!response.ok) throw new ApiError(response.status, await detailOf(response));
  return response;
}

export const json = async (method, path, options) => (await request(method, path, options)).json();

async function detailOf(response) {
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return detail;
    return detail.map((problem) => problem.msg).join("; ");
  } catch {
    return `The server answered ${response.status}.`;
  }
}

// Returns all sessions, oldest first, at most 5,000.
export async function sessions() {
  const all = [];
  let path = "sessions?limit=1000";
  for (let page = 0; page < 5 && path; page += 1) {
    const response = await request("GET", path);
    all.push(...(await response.json()));
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get("link") ?? "");
    // The server's path is absolute. Only its query is used, so that a prefix is kept.
    path = next && `sessions${new URL(next[1], location.href).search}`;
  }
  return all;
}

// Returns a key for one action of the user, so that a repeated request does not send a second
// message.
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Reads a session's events until `signal` fires, over as many connections as needed. Calls
// `onFrame(name, data)` for each frame, and `onState(state)` with "open", "lost" or "gone".
export async function follow(id, after, { onFrame, onState, signal }) {
  let last = after;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const path = `sessions/${encodeURIComponent(id)}/events?after=${last}&event_deltas[]=agent.message`;
      const response = await request("GET", path, { headers: { accept: "text/event-stream" }, signal });
      failures = 0;
      onState("open");
      for await (const frame of frames(response.body)) {
        if (frame.id) last = Number(frame.id);
        onFrame(frame.event, JSON.parse(frame.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) return onState("gone");
      if (error.status === 401) return onState("unauthorized");
      failures += 1;
    }
    onState("lost");
    await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** failures, 8000)));
  }
}

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  let frame = { event: "message", data: "", id: "" };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      const lines = buffer.split(/\r\n|\n/);
      buffer = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (frame.data) yield frame;
          frame = { event: "message", data: "", id: "" };
        } else if (!line.startsWith(":")) {
          const colon = line.indexOf(":");
          const field = colon < 0 ? line : line.slice(0, colon);
          const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
          if (field === "data") frame.data += frame.data ? `\n${value}` : value;
          else if (field in frame) frame[field] = value;
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

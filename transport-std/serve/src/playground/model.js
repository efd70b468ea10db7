// The page's state of one session: a fold over the session's events. Does not use the DOM.
//
// An item is a part of the conversation: {key, kind: "user" | "agent" | "thinking" | "tool" | "note", ...}.
// A turn is a row of the timeline: {turn, start, end, reason, spans: [{kind, name, start, end, failed}], usage}.

export function emptySession() {
  return { items: new Map(), turns: new Map(), lastSeq: 0, lastTime: 0, status: "idle" };
}

const text = (blocks) => (blocks ?? []).filter((block) => block.type === "text").map((block) => block.text).join("\n");

const REASONS = {
  cancelled: "The turn was stopped.",
  max_iterations: "The turn reached its limit of model requests.",
  refusal: "The model declined to answer.",
  max_tokens: "The reply reached its token limit.",
};

// Applies one event of the log. Returns the keys of the items that changed.
export function apply(session, event) {
  if (event.seq !== undefined) {
    if (event.seq <= session.lastSeq) return [];
    session.lastSeq = event.seq;
  }
  const time = Date.parse(event.processed_at) || session.lastTime;
  session.lastTime = Math.max(session.lastTime, time);
  const turn = turnOf(session, event, time);
  const put = (key, item) => {
    session.items.set(key, { key, turn: event.turn, ...session.items.get(key), ...item });
    return [key];
  };
  switch (event.type) {
    case "user.message":
      return put(event.id, { kind: "user", blocks: event.content, text: text(event.content) });
    case "session.status_running":
      session.status = "running";
      if (turn) turn.end = undefined;
      return [];
    case "session.status_idle": {
      const reason = event.stop_reason?.type ?? "end_turn";
      const asks = reason === "requires_action";
      const waiting = asks ? waitFor(session, turn, event.stop_reason.event_ids ?? [], time) : [];
      session.status = asks ? "interrupted" : reason === "error" ? "error" : "idle";
      if (turn && !asks) {
        turn.end = time;
        turn.reason = reason;
        for (const span of turn.spans) span.end ??= time;
      }
      const changed = asks ? waiting : endOpenItems(session);
      return REASONS[reason] ? [...changed, ...put(event.id, { kind: "note", text: REASONS[reason] })] : changed;
    }
    case "session.error":
      return put(event.id, { kind: "note", tone: "bad", text: `${event.error?.type ?? "error"}: ${event.error?.message ?? ""}` });
    case "user.interrupt":
      return [];
    case "span.model_request_start":
      turn?.spans.push({ id: event.id, kind: "model", name: event.model ?? "model request", start: time });
      return [];
    case "span.model_request_end": {
      const span = turn?.spans.find((span) => span.id === event.model_request_start_id);
      if (span) Object.assign(span, { end: time, failed: event.is_error, usage: event.model_usage });
      if (turn) addUsage(turn, event.model_usage);
      return [];
    }
    case "agent.thinking":
      return put(event.id, { kind: "thinking", text: "The model thought about this." });
    case "agent.message":
      return put(event.id, { kind: "agent", text: text(event.content), streaming: false });
    case "agent.tool_use": {
      const asks = event.evaluated_permission === "ask";
      turn?.spans.push({ id: event.id, kind: asks ? "wait" : "tool", name: event.name, start: time });
      return put(event.id, { kind: "tool", name: event.name, input: event.input, asks, state: asks ? "waiting" : "running" });
    }
    case "user.tool_confirmation":
    case "user.custom_tool_result": {
      const id = event.tool_use_id ?? event.custom_tool_use_id;
      answerSpan(turn, id, time, session.items.get(id)?.name);
      const denied = event.result === "deny";
      return put(id, { state: denied ? "denied" : "running", decision: event.result ?? "answered" });
    }
    case "agent.tool_result": {
      const id = event.tool_use_id;
      const span = turn?.spans.findLast((span) => span.id === id);
      if (span) Object.assign(span, { end: time, failed: event.is_error });
      return put(id, { kind: "tool", state: event.is_error ? "failed" : "ok", result: event.content });
    }
    default:
      return [];
  }
}

// Applies a preview of a message that is not in the log yet. Returns the keys of the changed items.
export function preview(session, frame) {
  if (frame.event?.id) {
    const { id, type } = frame.event;
    if (type !== "agent.message" || session.items.has(id)) return [];
    session.items.set(id, { key: id, kind: "agent", text: "", streaming: true });
    return [id];
  }
  const item = session.items.get(frame.event_id);
  if (!item?.streaming) return [];
  item.text += frame.delta?.content?.text ?? "";
  return [item.key];
}

// Removes previews whose message never arrived, for example after a lost connection. Returns their
// keys.
export function dropPreviews(session) {
  const keys = [...session.items.values()].filter((item) => item.streaming).map((item) => item.key);
  for (const key of keys) session.items.delete(key);
  return keys;
}

function endOpenItems(session) {
  const changed = dropPreviews(session);
  for (const item of session.items.values()) {
    if (item.kind === "tool" && (item.state === "running" || item.state === "waiting")) {
      item.state = "ended";
      changed.push(item.key);
    }
  }
  return changed;
}

function turnOf(session, event, time) {
  if (event.turn === undefined || event.turn === null) return undefined;
  if (!session.turns.has(event.turn)) {
    session.turns.set(event.turn, { turn: event.turn, start: time, end: undefined, reason: undefined, spans: [], usage: { input: 0, output: 0 } });
  }
  return session.turns.get(event.turn);
}

// Marks calls as waiting for an answer, including those that ran before they asked. Returns the
// keys of the changed items.
function waitFor(session, turn, ids, time) {
  return ids.filter((id) => {
    const item = session.items.get(id);
    if (item?.state !== "running") return false;
    item.state = "waiting";
    const span = turn?.spans.findLast((span) => span.id === id);
    if (span) span.end ??= time;
    turn?.spans.push({ id, kind: "wait", name: item.name, start: time });
    return true;
  });
}

// Ends the wait at an answer; the tool itself runs after it.
function answerSpan(turn, id, time, name) {
  const waiting = turn?.spans.findLast((span) => span.id === id && span.kind === "wait");
  if (!waiting || waiting.end !== undefined) return;
  waiting.end = time;
  turn.spans.push({ id, kind: "tool", name: name ?? waiting.name, start: time });
}

function addUsage(turn, usage) {
  if (!usage) return;
  const input = (usage.input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
  turn.usage.input += input;
  turn.usage.output += usage.output_tokens ?? 0;
}

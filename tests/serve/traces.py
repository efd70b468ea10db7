#!/usr/bin/env python3
"""Checks the traces of a server: the files of --traces, what a collector receives, and what the model
receives.

usage: traces.py AGENT

AGENT is the binary of `contract_agent`. Sessions run concurrently, with and without a `traceparent`.
One waits for an approval, one is killed with its server and taken over, and one runs while the server
is told to stop.
"""
import argparse, concurrent.futures, http.server, json, pathlib, signal, sys, tempfile, threading, time, urllib.request

from run import Servers, free_port

CALLS = 'call get_weather {"location": "Paris"} and calculate_sum {"a": 15, "b": 27} then results'


class Collector(http.server.BaseHTTPRequestHandler):
    bodies = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.bodies.append((self.path, self.headers["content-type"], self.headers.get("x-collector"), body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def ask(method, url, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.loads(answer.read())


def parent(n):
    return f"00-{n:032x}-{n:016x}-01"


def send(base, text, trace=None):
    """Sends a message to a new session. Returns the session's id."""
    session = ask("POST", base + "/sessions", {})["session_id"]
    headers = {} if trace is None else {"traceparent": trace}
    ask("POST", f"{base}/sessions/{session}/messages", {"content": text}, **headers)
    return session


def wait(base, session):
    return ask("GET", f"{base}/sessions/{session}?wait=true&timeout=60")


def until(what, condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit(f"never: {what}")


def spans_in(folder):
    spans = []
    for file in sorted(folder.glob("traces-*.jsonl")):
        for line in file.read_text().splitlines():
            resource = json.loads(line)["resourceSpans"][0]
            service = {pair["key"]: pair["value"] for pair in resource["resource"]["attributes"]}["service.name"]
            assert service == {"stringValue": "contract_agent"}, service
            span = resource["scopeSpans"][0]["spans"][0]
            span["attributes"] = {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}
            spans.append(span)
    return spans


def equal(got, wanted, what):
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"


def check_tree(spans, run, session, requests, calls):
    """Checks that the run's children are exactly these requests and calls, apart from calls that
    did not run because they wait for an answer.
    """
    children = [s for s in spans if s.get("parentSpanId") == run["spanId"] and not s["attributes"].get("toolrunner.suspended")]
    assert all(child["traceId"] == run["traceId"] for child in children), children
    equal(sum(child["name"] == "chat claude-test-1" for child in children), requests, "requests")
    equal(sorted(child["name"] for child in children if not child["name"].startswith("chat ")), sorted(f"execute_tool {c}" for c in calls), "calls")
    for span in [run, *children]:
        equal(span["attributes"]["gen_ai.conversation.id"], session, span["name"])
        equal(span["attributes"]["gen_ai.operation.name"], span["name"].split()[0], span["name"])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("agent", type=pathlib.Path)
    o = a.parse_args()
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        servers = Servers(o.agent.resolve(), folder)
        servers.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
        servers.env["OTEL_EXPORTER_OTLP_HEADERS"] = "x-collector=secret"
        try:
            fake = servers.fake()
            check_servers(servers, fake, folder)
            check_contents(servers, folder)
        except BaseException:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            raise
        finally:
            servers.stop()
    print("traces: the trees of all turns are right")


def check_servers(servers, fake, folder):
    options = ["--store", f"sqlite:{folder}/sessions.db", "--drain", "0", "--traces", str(folder / "traces")]
    base = servers.start("first", free_port(), *options)
    # Concurrent turns, each with its own caller.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        sessions = dict(enumerate(pool.map(lambda n: send(base, CALLS, parent(n)), range(1, 17)), 1))
        for state in pool.map(lambda session: wait(base, session), sessions.values()):
            equal((state["status"], state["response"]["content"]), ("idle", "results: 20°C in Paris | 42"), "the turn")
    alone = send(base, CALLS)
    wait(base, alone)
    # An answer may arrive with another trace: the turn stays in its own.
    waiting = send(base, 'call dangerous_tool {"path": "/tmp/x"} then results', parent(100))
    [interrupt] = wait(base, waiting)["interrupts"]
    answer = {"interrupt_id": interrupt["interrupt_id"], "value": {"approved": True}}
    ask("POST", f"{base}/sessions/{waiting}/resume", answer, traceparent=parent(999))
    equal(wait(base, waiting)["status"], "idle", "the approved turn")
    invalid = send(base, "say hello", "00-not-valid-01")
    wait(base, invalid)
    unsampled = send(base, "say hello", f"00-{200:032x}-{200:016x}-00")
    wait(base, unsampled)

    # The server is killed during a call; the next server continues in the same trace.
    killed = send(base, 'call slow_tool {"seconds": 60} then results', parent(300))
    until("a call runs", lambda: "agent.tool_use" in str(ask("GET", f"{base}/sessions/{killed}/events")))
    until("its request is written", lambda: any(s["traceId"] == f"{300:032x}" for s in spans_in(folder / "traces")))
    servers.running["first"].kill()
    servers.running.pop("first").wait()
    base = servers.start("second", free_port(), *options)
    equal(wait(base, killed)["status"], "idle", "the turn that was taken over")

    # The server is told to stop during a call: the unfinished turn is written too.
    stopped = send(base, 'call slow_tool {"seconds": 60} then results', parent(400))
    until("a call runs", lambda: "agent.tool_use" in str(ask("GET", f"{base}/sessions/{stopped}/events")))
    servers.running["second"].send_signal(signal.SIGTERM)
    equal(servers.running.pop("second").wait(30), 0, "the exit code")

    spans = spans_in(folder / "traces")
    runs = {}
    for span in spans:
        if span["name"] == "invoke_agent":
            runs.setdefault(span["attributes"]["gen_ai.conversation.id"], []).append(span)
    for n, session in sessions.items():
        [run] = runs[session]
        equal((run["traceId"], run["parentSpanId"]), (f"{n:032x}", f"{n:016x}"), "the caller")
        check_tree(spans, run, session, 2, ["get_weather", "calculate_sum"])
    for session, calls, requests in [(alone, ["get_weather", "calculate_sum"], 2), (invalid, [], 1)]:
        [run] = runs[session]
        assert "parentSpanId" not in run, run
        check_tree(spans, run, session, requests, calls)
    assert len({run["traceId"] for all in runs.values() for run in all}) == 16 + 2 + 3, "one trace for each turn"
    before, after = runs[waiting]
    for run, calls in [(before, []), (after, ["dangerous_tool"])]:
        equal((run["traceId"], run["parentSpanId"]), (f"{100:032x}", f"{100:016x}"), "the caller of an interrupted turn")
        check_tree(spans, run, waiting, 1, calls)
    suspended = [span["parentSpanId"] for span in spans if span["attributes"].get("toolrunner.suspended")]
    equal(suspended, [before["spanId"]], "runs with a call that waits")
    assert unsampled not in runs, "the caller does not want to have this recorded"
    # The first server had no time to end its run's span.
    [run] = runs[killed]
    equal((run["traceId"], run["parentSpanId"]), (f"{300:032x}", f"{300:016x}"), "the caller of a turn taken over")
    equal(sum(s["traceId"] == f"{300:032x}" and s["name"].startswith("chat") for s in spans), 2, "requests of two servers")
    [run] = runs[stopped]
    check_tree(spans, run, stopped, 1, ["slow_tool"])

    # The `traceparent` that the model received names the span of the request.
    sent = [request["traceparent"] for request in ask("GET", fake + "/requests")]
    chats = [f"00-{s['traceId']}-{s['spanId']}-01" for s in spans if s["name"].startswith("chat")]
    equal(sorted(header for header in sent if header.endswith("-01")), sorted(chats), "the headers of the model's requests")
    equal([header[:35] for header in sent if header.endswith("-00")], [f"00-{200:032x}"], "the header of the turn that is not recorded")

    # The collector received the same spans, and no contents of messages appear anywhere.
    kinds = {(path, kind, key) for path, kind, key, _ in Collector.bodies}
    equal(kinds, {("/v1/traces", "application/x-protobuf", "secret")}, "requests to the collector")
    received = b"".join(body for *_, body in Collector.bodies)
    lost = [span for span in spans if bytes.fromhex(span["spanId"]) not in received and span["traceId"] != f"{300:032x}"]
    equal(lost, [], "spans that the collector did not receive")
    for text in [received.decode(errors="replace"), "".join(f.read_text() for f in (folder / "traces").iterdir())]:
        assert "Paris" not in text and "claude-test-1" in text, "contents in the traces"


def check_contents(servers, folder):
    limit = 1000
    options = ["--store", "memory:", "--traces", str(folder / "contents"), "--trace-content", str(limit)]
    base = servers.start("contents", free_port(), *options)
    wait(base, send(base, CALLS))
    wait(base, send(base, "say " + "x" * 5000))
    servers.running["contents"].send_signal(signal.SIGTERM)
    equal(servers.running.pop("contents").wait(30), 0, "the exit code")
    spans = spans_in(folder / "contents")
    results = [span["attributes"].get("gen_ai.tool.call.result") for span in spans if span["name"] == "execute_tool get_weather"]
    equal(results, ["20°C in Paris"], "results")
    assert any('"Paris"' in span["attributes"].get("gen_ai.output.messages", "") for span in spans), spans
    for span in spans:
        for name, value in span["attributes"].items():
            assert len(str(value).encode()) <= limit, (span["name"], name, len(value))
    assert any(span["attributes"].get("toolrunner.content.truncated") is True for span in spans), "nothing was cut"


if __name__ == "__main__":
    main()

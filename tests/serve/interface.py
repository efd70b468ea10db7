#!/usr/bin/env python3
"""Checks what the contract suite does not cover: origins, host names, repeated requests that wait, and
the drain.

usage: interface.py AGENT

AGENT is the binary of `contract_agent`. Uses the standard library and loopback only.
"""
import argparse, http.client, json, pathlib, sys, tempfile, threading, time
from run import Servers, free_port


class Test:
    def __init__(self, servers):
        self.servers, self.port = servers, free_port()
        servers.fake()

    def start(self, *options):
        self.servers.start("base", self.port, *options)

    def stop(self):
        process = self.servers.running.pop("base")
        process.kill()
        process.wait()

    def call(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"} | headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(body or b"null")

    def session(self):
        return self.call("POST", "/sessions")[2]["session_id"]


def equal(what, want, found):
    if want != found:
        sys.exit(f"FAIL  {what}: expected {want!r}, found {found!r}")


def origins(test):
    own = f"http://127.0.0.1:{test.port}"
    for headers, want in [
        ({}, 201),
        ({"Origin": own}, 201),
        ({"Origin": "https://app.example.org"}, 201),
        ({"Origin": "https://app.example.org.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://proxied.example"}, 201),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": f"evil.example:{test.port}", "Origin": f"http://evil.example:{test.port}"}, 403),
        ({"Host": "agents.example.org"}, 201),
        ({"Host": f"localhost:{test.port}"}, 201),
    ]:
        equal(f"POST /sessions with {headers}", want, test.call("POST", "/sessions", **headers)[0])
    # Reading from another origin is harmless, because the browser hides the answer. Under another
    # host name the browser would not hide it.
    equal("GET from another origin", 200, test.call("GET", "/sessions", Origin="http://evil.example")[0])
    equal("GET under another name", 403, test.call("GET", "/sessions", Host="evil.example")[0])
    session = test.session()
    for method, path in [("POST", "/messages"), ("POST", "/resume"), ("POST", "/cancel"), ("DELETE", "")]:
        equal(f"{method} {path}", 403, test.call(method, f"/sessions/{session}{path}", {"content": "x"}, Origin="http://evil.example")[0])
    equal("the session was left alone", ("idle", 1), tuple(test.call("GET", f"/sessions/{session}")[2][k] for k in ("status", "version")))


def repeated(test):
    """Checks that a repeated message is answered with the end of its own turn, however many turns
    followed.
    """
    session, stories = test.session(), []
    for n, text in enumerate(['call calculate_sum {"a": 1, "b": 2}', "error 400", "say last"]):
        send = lambda text=text, n=n: test.call("POST", f"/sessions/{session}/messages?wait=30", {"content": text}, Idempotency_Key=f"key-{n}")
        status, headers, body = send()
        equal(f"the turn {text!r}", (200, None), (status, headers.get("idempotency-replayed")))
        stories.append((send, text, body))
    for send, text, first in stories:
        status, headers, body = send()
        equal(f"{text!r} again", (200, "true"), (status, headers.get("idempotency-replayed")))
        for key in ("status", "response", "error", "interrupts"):
            equal(f"{key} of {text!r} again", first[key], body[key])
    equal("the turns differ", ["idle", "error", "idle"], [first["status"] for _, _, first in stories])
    # The turn is cancelled, and the repeated message arrives while the next turn runs.
    session = test.session()
    send = lambda: test.call("POST", f"/sessions/{session}/messages?wait=30", {"content": "slow 20 say never"}, Idempotency_Key="slow")
    first = []
    waiter = threading.Thread(target=lambda: first.append(send()))
    waiter.start()
    while test.call("GET", f"/sessions/{session}")[2]["status"] != "running":
        time.sleep(0.02)
    test.call("POST", f"/sessions/{session}/cancel")
    waiter.join()
    test.call("POST", f"/sessions/{session}/messages", {"content": "slow 20 say other"})
    start = time.monotonic()
    again = send()
    equal("the repeated message does not wait for the next turn", True, time.monotonic() - start < 10)
    equal("the cancelled turn again", [first[0][2][k] for k in ("status", "response", "error")], [again[2][k] for k in ("status", "response", "error")])
    test.call("POST", f"/sessions/{session}/cancel")


def drain(test):
    """Checks SIGTERM: the running turn ends, new work is refused, and streams end and can be
    resumed.
    """
    session = test.session()
    test.call("POST", f"/sessions/{session}/messages", {"content": 'call slow_tool {"seconds": 2}'})
    stream = http.client.HTTPConnection("127.0.0.1", test.port, timeout=30)
    stream.request("GET", f"/sessions/{session}/events", headers={"Accept": "text/event-stream"})
    answer = stream.getresponse()
    seen = []
    while not any(b"agent.tool_use" in line for line in seen):
        seen.append(answer.readline())
    process = test.servers.running.pop("base")
    process.terminate()
    seen += answer.read().splitlines(keepends=True)
    last = [int(line[3:]) for line in seen if line.startswith(b"id:")][-1]
    equal("exit status", 0, process.wait(timeout=30))
    test.start("--store", test.store)
    body = test.call("GET", f"/sessions/{session}?wait=true&timeout=20")[2]
    equal("the turn", ("idle", "results: slept 2"), (body["status"], (body["response"] or {}).get("content")))
    events = test.call("GET", f"/sessions/{session}/events?after={last}")[2]["data"]
    equal("the stream goes on without a gap", list(range(last + 1, last + 1 + len(events))), [e["seq"] for e in events])
    results = [e for e in test.call("GET", f"/sessions/{session}/events")[2]["data"] if e["type"] == "agent.tool_result"]
    equal("the tool ran to its end within the drain", [False], [e["is_error"] for e in results])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("agent", type=pathlib.Path)
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(o.agent.resolve(), pathlib.Path(folder))
        test = Test(servers)
        test.store = f"sqlite:{folder}/sessions.db"
        try:
            test.start("--store", test.store, "--cors", "https://app.example.org", "--allowed-host", "agents.example.org")
            for check in (origins, repeated, drain):
                check(test)
                print(f"ok    {check.__name__}")
        finally:
            servers.stop()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Kills servers between the end of a turn and the delivery of its webhook, and checks that the webhook
still arrives.

usage: webhooks.py AGENT [--store sqlite|URL] [--patience F]

AGENT is the binary of `contract_agent`. The receiver first refuses every attempt with 503. Then the
server is killed with SIGKILL, and the receiver accepts. The webhook must come from the restarted
server, or from a peer on the same store, with the same `webhook-id`, a valid signature, and the end
of its own turn, although another turn followed. A later start does not send a delivered webhook
again, and private addresses are refused.
"""
import argparse, base64, hashlib, hmac, json, pathlib, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from run import Servers, free_port, wait_for

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


class Hook:
    """Receives webhooks; refuses them until `accepts` is set."""

    def __init__(self):
        self.attempts, self.accepts, self.sent = [], threading.Event(), []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                accepted = hook.accepts.is_set()
                hook.attempts.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body, accepted))
                self.send_response(200 if accepted else 503)
                self.send_header("content-length", "0")
                self.end_headers()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def of(self, path, accepted=None):
        return [a for a in list(self.attempts) if a[0] == path and accepted in (None, a[3])]


def signed(headers, body):
    told = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    want = base64.b64encode(hmac.new(KEY, told, hashlib.sha256).digest()).decode()
    return f"v1,{want}" in headers["webhook-signature"].split(" ")


class Test:
    def __init__(self, servers, store, patience):
        self.servers, self.patience, self.hook = servers, patience, Hook()
        self.options = ["--store", store]
        self.port = free_port()
        servers.fake()

    def start(self, name="base", port=None):
        return self.servers.start(name, port or self.port, *self.options)

    def kill(self, name="base"):
        process = self.servers.running.pop(name)
        process.kill()
        process.wait()

    def until(self, what, done, seconds=45):
        end = time.monotonic() + seconds * self.patience
        while not done():
            if time.monotonic() > end:
                sys.exit(f"FAIL  not within {seconds * self.patience:.0f} s: {what}; attempts: {[(a[0], a[3]) for a in self.hook.attempts]}")
            time.sleep(0.05)

    def check(self, good, what, found=""):
        if not good:
            sys.exit(f"FAIL  {what}: {found}")

    def send(self, base, path, text, session=None, **webhook):
        session = session or call("POST", f"{base}/sessions")[1]["session_id"]
        hook = {"url": self.hook.url + path, "secret": SECRET, "token": "tok", **webhook}
        status, body = call("POST", f"{base}/sessions/{session}/messages?wait=30", {"content": text, "webhook": hook})
        self.check(status == 200 and body["status"] == "idle", "the turn ends", (status, body))
        return session

    def delivered(self, path, session, text, messages):
        self.until(f"{path} is delivered", lambda: self.hook.of(path, True))
        attempts = self.hook.of(path)
        self.check(len({a[1]["webhook-id"] for a in attempts}) == 1, "each attempt has the same webhook-id", attempts)
        for _, headers, body, _ in attempts:
            self.check(signed(headers, body), "the signature fits", headers)
            self.check(headers["authorization"] == "Bearer tok", "the token is sent", headers)
        told = json.loads(attempts[-1][2])
        found = (told["session_id"], told["status"], told["response"]["content"], [m["content"] for m in told["messages"]])
        self.check(found == (session, "idle", text, messages), "what the turn ended with is told", found)

    def refused_then_killed(self, path, base, then):
        """Ends a turn whose webhook is refused, runs another turn, kills the server, calls `then`,
        and checks that the webhook arrives.
        """
        self.hook.accepts.clear()
        session = self.send(base, path, "say one", include_messages=True)
        self.until(f"{path} is tried", lambda: self.hook.of(path))
        status, body = call("POST", f"{base}/sessions/{session}/messages?wait=30", {"content": "say two"})
        self.check(status == 200 and body["response"]["content"] == "two", "the next turn ends", body)
        self.kill()
        self.hook.accepts.set()
        # Waits until no attempt of the killed server is under way.
        time.sleep(0.5)
        self.check(not self.hook.of(path, True), "nothing is delivered while no server lives", path)
        then()
        self.delivered(path, session, "one", ["say one", "one"])
        return session


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("agent", type=pathlib.Path)
    a.add_argument("--store", default="sqlite")
    a.add_argument("--patience", type=float, default=1.0)
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        store = f"sqlite:{folder}/sessions.db" if o.store == "sqlite" else o.store
        servers = Servers(o.agent.resolve(), folder)
        test = Test(servers, store, o.patience)
        try:
            base = test.start()
            one = test.refused_then_killed("/restart", base, lambda: test.start())
            print("ok    a server that is started again delivers what the one before could not")
            test.start("peer", free_port())
            test.refused_then_killed("/peer", base, lambda: None)
            print("ok    a peer on the same store delivers what the dead one could not")
            base = test.start()
            seen = {path: len(test.hook.of(path)) for path in ("/restart", "/peer")}
            time.sleep(6 * o.patience)
            for path, count in seen.items():
                test.check(len(test.hook.of(path)) == count, "what was delivered is not sent again", (path, count, len(test.hook.of(path))))
            print("ok    what was delivered is not sent again")
            # After SIGTERM, the peer takes over the rest without waiting for the old server's lease
            # to expire.
            test.hook.accepts.clear()
            two = test.send(base, "/drain", "say three", include_messages=True)
            test.until("/drain is tried", lambda: test.hook.of("/drain"))
            process = servers.running.pop("base")
            process.terminate()
            process.wait(timeout=30)
            test.hook.accepts.set()
            test.delivered("/drain", two, "three", ["say three", "three"])
            print("ok    a server that ends leaves its webhooks to the peer")
            for url in ("http://127.0.0.1:9/", "http://[::1]/", "http://10.0.0.1/", "http://169.254.169.254/latest", "http://localhost/"):
                status, body = call("POST", f"{careful(servers)}/sessions/{one}/messages", {"content": "hi", "webhook": {"url": url}})
                test.check(status == 422 and "private" in json.dumps(body), f"{url} is refused", (status, body))
            print("ok    private addresses are refused")
        finally:
            servers.stop()


def careful(servers):
    """Starts a server without --allow-private-webhooks."""
    if "careful" not in servers.running:
        servers.careful_port = free_port()
        command = [servers.agent, "start", "--port", str(servers.careful_port), "--store", "memory:"]
        with open(servers.folder / "careful.log", "a") as log:
            servers.running["careful"] = subprocess.Popen(command, env=servers.env, stdout=log, stderr=log)
        wait_for(f"http://127.0.0.1:{servers.careful_port}/health")
    return f"http://127.0.0.1:{servers.careful_port}"


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Kills servers with SIGKILL at random moments. Checks that no acknowledged work is lost and that no
tool runs twice.

usage: kills.py AGENT [--store sqlite|URL] [--kills N] [--clients N] [--nginx] [--seed N]

AGENT is the binary of `contract_agent`. Two servers share one store. Clients create sessions, send
messages whose turns call a tool that is not idempotent, and read the events, through either server,
or all through nginx with --nginx. Meanwhile the servers are killed in turn, and sometimes both at
once, and started again. Requests have idempotency keys and are repeated until they are answered, as
a careful client would do. At the end every session must become idle, and then:

- every event that a client has seen is still stored under the same number;
- every message that was accepted is in the log exactly once;
- every note of the tool `record` is in its file at most once, and exactly once if its result says so;
- every call has one result, and the turn after it had a valid history (the scripted model refuses
  any other).
"""
import argparse, collections, json, os, pathlib, random, signal, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request, uuid
from run import HERE, free_port, wait_for

# Another server takes over a dead server's turns within 30 s; a busy machine gets more time.
SETTLE = 240


def call(method, url, body=None, key=None, timeout=10):
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


class Cluster:
    """Two servers on one store, the scripted model, and optionally nginx in front."""

    def __init__(self, agent, store, folder, with_nginx):
        self.agent, self.store, self.folder = agent, store, folder
        self.record = folder / "record"
        self.record.touch()
        self.model_port, self.ports = free_port(), [free_port(), free_port()]
        self.env = dict(os.environ, ANTHROPIC_API_KEY="test", CONTRACT_RECORD_FILE=str(self.record))
        self.env["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{self.model_port}"
        self.processes, self.kills = {}, 0
        self.spawn("model", [sys.executable, HERE / "fake_api.py", str(self.model_port)])
        wait_for(f"http://127.0.0.1:{self.model_port}/requests")
        for number in [0, 1]:
            self.start(number)
            wait_for(f"http://127.0.0.1:{self.ports[number]}/health")
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        if with_nginx:
            self.urls = [self.nginx()]

    def spawn(self, name, command):
        with open(self.folder / f"{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

    def start(self, number):
        command = [self.agent, "start", "--port", str(self.ports[number]), "--workers", "8", "--store", self.store]
        self.spawn(f"server-{number}", command)

    def kill(self, numbers):
        for number in numbers:
            process = self.processes[f"server-{number}"]
            if process.poll() is not None:
                raise SystemExit(f"server {number} ended by itself: {process.returncode}; see its log")
            process.kill()
        for number in numbers:
            self.processes[f"server-{number}"].wait()
            self.kills += 1
            self.start(number)

    def nginx(self):
        """Returns the example's configuration with these ports and paths."""
        port, text = free_port(), (HERE.parent.parent / "examples/serve/deploy/nginx.conf").read_text()
        for old, new in [("server-1:8000", f"127.0.0.1:{self.ports[0]}"), ("server-2:8000", f"127.0.0.1:{self.ports[1]}"),
                         ("listen 80;", f"listen 127.0.0.1:{port};"), ("/var/run/nginx.pid", f"{self.folder}/nginx.pid")]:
            assert old in text, f"nginx.conf without {old}"
            text = text.replace(old, new)
        (self.folder / "nginx.conf").write_text(text)
        command = ["/usr/sbin/nginx", "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", "daemon off;"]
        self.spawn("nginx", command)
        wait_for(f"http://127.0.0.1:{port}/health")
        return f"http://127.0.0.1:{port}"

    def stop(self):
        for process in self.processes.values():
            process.terminate() if process.args[0] == "/usr/sbin/nginx" else process.kill()
            process.wait()


class Client(threading.Thread):
    """A client that uses one session after another: it creates the session, sends messages, and
    remembers every event it has seen.
    """

    def __init__(self, cluster, seed, until):
        super().__init__(daemon=True)
        self.cluster, self.random, self.until = cluster, random.Random(seed), until
        self.events = collections.defaultdict(dict)
        self.accepted = collections.defaultdict(list)
        self.failure = None
        self.is_under_way = False

    def run(self):
        try:
            while not self.until.is_set():
                self.session()
        except BaseException as failure:
            self.failure = failure

    def ask(self, method, path, body=None, key=None, good=(200, 201, 202)):
        """Repeats the request, to any server, until one answers."""
        deadline = time.monotonic() + SETTLE
        while True:
            try:
                status, answer = call(method, self.random.choice(self.cluster.urls) + path, body, key)
            except (OSError, ValueError, urllib.error.URLError) as error:
                status, answer = None, error
            except Exception as error:  # http.client's exceptions, when the server dies during an answer
                status, answer = None, error
            if status in good:
                return status, answer
            if status is not None and status not in (500, 502, 503, 504, 409):
                raise AssertionError(f"{method} {path}: {status} {answer}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {path}: no good answer within {SETTLE} s, the last: {status} {answer}")
            time.sleep(0.05)

    def look(self, session):
        """Reads the events from a random position, and remembers them: an event that a client has
        seen must stay.
        """
        seen = self.events[session]
        after = self.random.choice([0, max(seen, default=0)])
        _, page = self.ask("GET", f"/sessions/{session}/events?after={after}&limit=1000")
        expected = after
        for event in page["data"]:
            expected += 1
            assert event["seq"] == expected, f"{session}: {event['seq']} instead of {expected}"
            before = seen.setdefault(event["seq"], event)
            assert before == event, f"{session}: event {event['seq']} was {before} and is {event}"

    def session(self):
        _, made = self.ask("POST", "/sessions", {"metadata": {"test": "kills"}}, str(uuid.uuid4()))
        session = made["session_id"]
        for _ in range(self.random.randint(1, 3)):
            notes = [uuid.uuid4().hex for _ in range(3)]
            pause = self.random.choice([0, 0.05, 0.3])
            record = lambda note: f"call record {json.dumps({'note': note, 'seconds': pause})}"
            other = f"call calculate_sum {json.dumps({'a': 1, 'b': 2})} and record {json.dumps({'note': notes[2]})}"
            script = f"{record(notes[0])} then {record(notes[1])} then {other} then say end {notes[0]}"
            # While the previous turn runs the server answers with a conflict, and the request is
            # repeated.
            key = str(uuid.uuid4())
            self.ask("POST", f"/sessions/{session}/messages", {"content": script}, key)
            self.accepted[session].append((script, notes))
            self.is_under_way = True
            while not self.until.is_set():
                self.look(session)
                if self.ask("GET", f"/sessions/{session}")[1]["status"] != "running":
                    break
                time.sleep(self.random.random() * 0.1)
            self.is_under_way = False
            # The same request must get the same answer and create no second message.
            if self.random.random() < 0.3:
                self.ask("POST", f"/sessions/{session}/messages", {"content": script}, key)


def check(client, cluster, totals):
    notes_run = collections.Counter(cluster.record.read_text().split())
    twice = [note for note, count in notes_run.items() if count > 1]
    assert not twice, f"tools ran twice: {twice}"
    for session, accepted in client.accepted.items():
        deadline = time.monotonic() + SETTLE
        while client.ask("GET", f"/sessions/{session}")[1]["status"] == "running":
            assert time.monotonic() < deadline, f"{session} is still running after {SETTLE} s"
            time.sleep(0.2)
        _, state = client.ask("GET", f"/sessions/{session}")
        assert state["status"] == "idle", f"{session}: {state}"
        seen = client.events[session]
        _, page = client.ask("GET", f"/sessions/{session}/events?limit=1000")
        events = page["data"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), f"{session}: numbers"
        for seq, event in seen.items():
            assert seq <= len(events) and events[seq - 1] == event, f"{session}: event {seq} is lost or another: {event}"
        sent = [event["content"][0]["text"] for event in events if event["type"] == "user.message"]
        assert sent == [script for script, _ in accepted], f"{session}: {len(sent)} messages, {len(accepted)} were accepted"
        uses = {event["id"]: event for event in events if event["type"] == "agent.tool_use"}
        results = collections.Counter(event["tool_use_id"] for event in events if event["type"] == "agent.tool_result")
        assert results == collections.Counter(uses.keys()), f"{session}: calls and results differ"
        ends = [event["stop_reason"]["type"] for event in events if event["type"] == "session.status_idle"]
        assert ends == ["end_turn"] * len(accepted), f"{session}: turns ended {ends}"
        for event in events:
            if event["type"] == "agent.tool_result":
                use = uses[event["tool_use_id"]]
                if use["name"] == "record":
                    note = use["input"]["note"]
                    totals["calls"] += 1
                    if event["is_error"]:
                        totals["interrupted calls"] += 1
                    else:
                        assert cluster_ran(cluster, note) == 1, f"{session}: {note} has a result, but did not run"
        totals["sessions"] += 1
        totals["turns"] += len(accepted)
        totals["events"] += len(events)


def cluster_ran(cluster, note):
    return cluster.record.read_text().split().count(note)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("agent", type=pathlib.Path)
    a.add_argument("--store", default="sqlite")
    a.add_argument("--kills", type=int, default=30)
    a.add_argument("--clients", type=int, default=16)
    a.add_argument("--nginx", action="store_true")
    a.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    o = a.parse_args()
    # Ensures that a timeout from outside also stops the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"# {o.store.split(':')[0]}, seed {o.seed}", flush=True)
    dice = random.Random(o.seed)
    with tempfile.TemporaryDirectory(prefix="toolrunner-kills-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        store = f"sqlite:{folder}/sessions.db" if o.store == "sqlite" else o.store
        cluster = Cluster(o.agent.resolve(), store, folder, o.nginx)
        until = threading.Event()
        clients = [Client(cluster, dice.random(), until) for _ in range(o.clients)]
        totals = collections.Counter()
        try:
            for client in clients:
                client.start()
            while cluster.kills < o.kills:
                # Sometimes kills before a server is up again, sometimes long after.
                time.sleep(dice.choice([0.2, 0.5, 1, 4]) * dice.random() + 0.1)
                # Usually waits until a killed server is back, however slow the machine is.
                if dice.random() < 0.8:
                    for port in cluster.ports:
                        wait_for(f"http://127.0.0.1:{port}/health")
                totals["turns under way at the kills"] += sum(client.is_under_way for client in clients)
                cluster.kill(dice.choice([[0], [1], [0], [1], [0, 1]]))
                failures = [client.failure for client in clients if client.failure]
                if failures:
                    raise failures[0]
            until.set()
            for client in clients:
                client.join(2 * SETTLE)
                if client.failure:
                    raise client.failure
                check(client, cluster, totals)
        except BaseException:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            raise
        finally:
            cluster.stop()
        front = ", behind nginx" if o.nginx else ""
        counts = ", ".join(f"{count} {name}" for name, count in totals.items())
        print(f"{cluster.kills} kills of servers{front}: nothing acknowledged is lost, no tool ran twice; {counts}")


if __name__ == "__main__":
    main()

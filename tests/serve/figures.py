#!/usr/bin/env python3
"""Measures the cost of a served agent, and compares it with the goals.

usage: figures.py FOLDER [--seconds S] [--json FILE] [--strict] [--smoke]

FOLDER holds the release builds of `contract_agent` and `echo_agent` (target/release). Everything runs
on a durable SQLite store in a temporary folder. As in load.py, costs are the CPU time of the process.
Other programs can change that time by a third, because fewer changes then share a transaction. With
--strict, a missed goal is an error.

--smoke is a short run of the same measurements for builds without optimization, with goals that are
TOLERANCE times as high for time and MEMORY_TOLERANCE times for memory. It finds costs that grow with the
number of sessions or readers, and turns that wait, not the cost of a turn.
"""
import argparse, json, os, pathlib, socket, subprocess, sys, tempfile, time, urllib.request
from run import HERE, Servers, free_port

GOALS = [
    ("no-op turn, CPU-ms", 0.3),
    ("turn with one tool call, CPU-ms", 1.0),
    ("approvals that did not get pending, of 1000", 0),
    ("a plain turn beside 1000 pending approvals, s", 1.0),
    ("idle, MiB resident", 20),
    ("with 10 000 idle sessions, MiB resident", 100),
    ("a stalled stream reader, messages of 30 KB, MiB", 1.0),
    ("a stalled stream reader, messages of 1 MB, MiB", 1.0),
]


# The factor by which an unoptimized build may exceed the goals for CPU time and for waiting.
TOLERANCE = 12
# The factor for memory. A smoke run has few readers, so each carries a larger part of the shared memory.
MEMORY_TOLERANCE = 2
# Fewer sessions, approvals and readers in a smoke run.
SMOKE = {"idle": 2000, "pending": 200, "readers": 30}
FULL = {"idle": 10_000, "pending": 1000, "readers": 100}


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def post(url, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"}, method="POST")
    return json.loads(urllib.request.urlopen(request, timeout=60).read())


def load(base, pid, folder, *options):
    out = folder / "load.json"
    command = [sys.executable, str(HERE / "load.py"), base, "--pid", str(pid), "--json", str(out), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = json.loads(out.read_text())["rows"]
    for row in rows:
        if row["errors"]:
            sys.exit(f"{row['name']}: {row['errors']}")
    return rows


def idle_sessions(base, pid, count):
    """Measures the resident memory with this many new sessions."""
    for _ in range(count):
        post(f"{base}/sessions")
    time.sleep(1)
    return rss(pid)


def stalled_reader(base, pid, size, turns, more, count):
    """Returns the cost of one of `count` clients that open a session's stream, with previews, and do not read it. Before, the model has
    written `turns` messages of `size` bytes; meanwhile, it writes `more`. Each client's system buffers are as small as they can be."""
    session = post(f"{base}/sessions")["session_id"]

    def say(count):
        for _ in range(count):
            post(f"{base}/sessions/{session}/messages?wait=60", {"content": f"size {size}"})

    say(turns)
    before = rss(pid)
    host, port = "127.0.0.1", int(base.rsplit(":", 1)[1])
    request = f"GET /sessions/{session}/events?event_deltas[]=agent.message HTTP/1.1\r\nhost: {host}:{port}\r\naccept: text/event-stream\r\n\r\n"
    readers = []
    for _ in range(count):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((host, port))
        reader.sendall(request.encode())
        readers.append(reader)
        # One after another: what many reads at the same time need is not a reader's.
        time.sleep(0.02)
    time.sleep(2)
    stalled = rss(pid)
    say(more)
    with_readers = rss(pid)
    for reader in readers:
        reader.close()
    return max(stalled - before, with_readers - before) / count


def measure(folder, where, seconds, counts):
    servers = Servers(where / "contract_agent", folder)
    store = lambda name: f"sqlite:{folder}/{name}.db"
    found = {}
    try:
        servers.fake()
        servers.agent = where / "echo_agent"
        base = servers.start("echo", free_port(), "--store", store("echo"))
        pid = servers.running["echo"].pid
        found["idle, MiB resident"] = rss(pid)
        row = load(base, pid, folder, "--only", "turns", "--conc", "8", "--seconds", seconds)[0]
        found["no-op turn, CPU-ms"] = row["cpu_ms_per_op"]
        found["turns per second (8 clients)"] = row["per_s"]
        servers.running.pop("echo").kill()
        base = servers.start("idle", free_port(), "--store", store("idle"))
        found["with 10 000 idle sessions, MiB resident"] = idle_sessions(base, servers.running["idle"].pid, counts["idle"])
        servers.running.pop("idle").kill()
        servers.agent = where / "contract_agent"
        base = servers.start("contract", free_port(), "--store", store("contract"))
        pid = servers.running["contract"].pid
        tool = 'call calculate_sum {"a": 1, "b": 2}'
        row = load(base, pid, folder, "--only", "turns", "--conc", "8", "--seconds", seconds, "--body", tool)[0]
        found["turn with one tool call, CPU-ms"] = row["cpu_ms_per_op"]
        found["a stalled stream reader, messages of 30 KB, MiB"] = stalled_reader(base, pid, 30_000, 60, 10, counts["readers"])
        # No messages meanwhile: conversations of 8 MB would dominate the result.
        found["a stalled stream reader, messages of 1 MB, MiB"] = stalled_reader(base, pid, 1_000_000, 4, 0, counts["readers"])
        pending = load(base, pid, folder, "--only", "pending", "--pending", str(counts["pending"]), "--seconds", seconds)[0]
        found["approvals that did not get pending, of 1000"] = counts["pending"] - pending["status"].get("interrupted", 0)
        found["a plain turn beside 1000 pending approvals, s"] = plain_beside(base, counts["pending"])
        return found
    finally:
        servers.stop()


def plain_beside(base, count):
    for _ in range(count):
        session = post(f"{base}/sessions")["session_id"]
        post(f"{base}/sessions/{session}/messages", {"content": 'call dangerous_tool {"path": "/tmp/x"}'})
    session = post(f"{base}/sessions")["session_id"]
    start = time.monotonic()
    body = post(f"{base}/sessions/{session}/messages?wait=30", {"content": "say hello"})
    if body["status"] != "idle":
        sys.exit(f"the plain turn is {body['status']}")
    return time.monotonic() - start


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("folder", type=pathlib.Path)
    a.add_argument("--seconds", default="5")
    a.add_argument("--json", type=pathlib.Path)
    a.add_argument("--strict", action="store_true")
    a.add_argument("--smoke", action="store_true")
    o = a.parse_args()
    seconds, counts = ("1", SMOKE) if o.smoke else (o.seconds, FULL)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(pathlib.Path(folder), o.folder.resolve(), seconds, counts)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n\n| figure | found | goal |\n|---|---|---|")
    missed = 0
    for name, goal in GOALS:
        if o.smoke:
            goal *= MEMORY_TOLERANCE if "MiB" in name else TOLERANCE
        missed += found[name] > goal
        print(f"| {name} | {found[name]:.3g}{' (missed)' if found[name] > goal else ''} | {goal:.3g} |")
    for name in found.keys() - {name for name, _ in GOALS}:
        print(f"| {name} | {found[name]:.3g} | |")
    if o.json:
        o.json.write_text(json.dumps(found, indent=1))
    return 1 if missed and (o.strict or o.smoke) else 0


if __name__ == "__main__":
    sys.exit(main())

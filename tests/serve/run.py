#!/usr/bin/env python3
"""Runs the contract suite against the contract agent, with every option, on one store.

usage: run.py AGENT [--store sqlite|memory|URL] [--profile ours|motus] [--patience F] [--only NAME,...]

AGENT is the binary of `contract_agent`. Starts the scripted model and four servers on free loopback
ports: the tested server, its peer on the same store, one with limits, and one with tokens. `memory`
has no peer and no restart, so the checks that need them are skipped.
"""
import argparse, os, pathlib, random, re, shlex, signal, socket, subprocess, sys, tempfile, time, urllib.request

# Deliberate differences from Motus: these checks of the profile `motus` must fail, and no others.
DIFFERENCES = {
    "health_head_405",
    "trailing_slash_307",
    "empty_object_is_a_message",
    "only_texts_are_kept_between_turns",
    "resume_twice_409",
}

HERE = pathlib.Path(__file__).parent


# Keeps the ports of this program from others that run at the same time, while no server listens on them.
RESERVED = []


def free_port():
    """Returns a free port below those that systems assign to connections, so that it stays free
    while its server restarts. The UDP port of the same number, which no server uses, is bound as long
    as this program runs, so that another one does not choose it.
    """
    for port in random.sample(range(20000, 32000), 100):
        mark = socket.socket(type=socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", port))
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
        else:
            RESERVED.append(mark)
            return port
    sys.exit("no port is free")


class Servers:
    def __init__(self, agent, folder):
        # Runs the `finally` that ends the servers.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.agent, self.folder, self.running = agent, folder, {}
        self.env = dict(os.environ, ANTHROPIC_API_KEY="test", CONTRACT_RECORD_FILE=str(folder / "record"))
        (folder / "record").touch()

    def fake(self):
        port = free_port()
        self.running["fake"] = subprocess.Popen([sys.executable, HERE / "fake_api.py", str(port)])
        self.env["ANTHROPIC_BASE_URL"] = url = f"http://127.0.0.1:{port}"
        wait_for(url + "/requests")
        return url

    def start(self, name, port, *options):
        command = [self.agent, "start", "--port", str(port), "--allow-private-webhooks", *options]
        log = open(self.folder / f"{name}.log", "a")
        process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        self.running[name] = process
        wait_for(f"http://127.0.0.1:{port}/health")
        return f"http://127.0.0.1:{port}"

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.wait()


def wait_for(url):
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing answers at {url}")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("agent", type=pathlib.Path)
    a.add_argument("--store", default="sqlite")
    a.add_argument("--patience", type=float, default=1.0)
    a.add_argument("--only", default="")
    a.add_argument("--profile", default="ours", choices=["ours", "motus"])
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        store = {"memory": "memory:", "sqlite": f"sqlite:{folder}/sessions.db"}.get(o.store, o.store)
        servers = Servers(o.agent.resolve(), folder)
        try:
            fake = servers.fake()
            port = free_port()
            options = ["--workers", "4", "--store", store]
            base = servers.start("base", port, *options)
            limits = servers.start(
                "limits", free_port(), "--store", "memory:", "--allow-custom-ids", "--max-sessions", "3", "--ttl", "2", "--timeout", "3"
            )
            (folder / "tokens").write_text("alice token-a\nbob token-b # another owner\n")
            auth = servers.start("auth", free_port(), "--store", "memory:", "--tokens", str(folder / "tokens"))
            command = [sys.executable, str(HERE / "contract.py"), base, "--profile", o.profile, "--fake", fake, "--limits", limits]
            command += ["--auth", auth, "--tokens", "token-a,token-b", "--record-file", str(folder / "record")]
            command += ["--patience", str(o.patience), "--only", o.only]
            if o.store != "memory":
                command += ["--peer", servers.start("peer", free_port(), *options)]
                again = [str(servers.agent), "start", "--port", str(port), "--allow-private-webhooks", *options]
                # The new process is a child of the shell that the suite starts. Its id is kept so
                # that it can be ended.
                pid = folder / "pid"
                pid.write_text(str(servers.running["base"].pid))
                command += ["--restart-cmd", restart(pid, again, folder, base)]
                servers.running.pop("base")
            if o.profile == "motus":
                return differences(command, servers.env, o.only)
            done = subprocess.run(command, env=servers.env).returncode
            if done:
                for log in sorted(folder.glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
            return done
        finally:
            servers.stop()
            if (folder / "pid").exists():
                try:
                    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
                except ProcessLookupError:
                    pass


def differences(command, env, only):
    """Returns whether exactly the intended checks fail."""
    output = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True).stdout
    # Without the suite's own words and count, which would read as failures of this project.
    for line in output.splitlines():
        if line.startswith("FAIL "):
            print("differs" + line[4:])
        elif not re.fullmatch(r"\d+ passed, \d+ failed.*", line):
            print(line)
    failed = {line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("FAIL ")}
    passed = {line.split()[1] for line in output.splitlines() if line.startswith("ok ")}
    wanted = DIFFERENCES if not only else DIFFERENCES & (failed | passed)
    if failed != wanted or not passed:
        print(f"not as intended: fail and should not {sorted(failed - wanted)}, should fail and do not {sorted(wanted - failed)}", file=sys.stderr)
        return 1
    print(f"only the {len(failed)} intended differences from Motus")
    return 0


def restart(pid, command, folder, base):
    """Returns a shell command that kills the server, starts it again, and returns when it
    answers.
    """
    start = shlex.join(command)
    return (
        # The port is free when the process has ended; a zombie keeps its process id for longer.
        f"kill -9 $(cat {pid}); for i in $(seq 20); do kill -0 $(cat {pid}) 2>/dev/null || break; sleep 0.05; done; {start} >>{folder}/base.log 2>&1 & echo $! >{pid}; "
        f"for i in $(seq 300); do curl -s -o /dev/null {base}/health && exit 0; sleep 0.1; done; exit 1"
    )


if __name__ == "__main__":
    sys.exit(main())

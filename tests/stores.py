#!/usr/bin/env python3
"""Starts the databases for the tests of toolrunner-serve's stores, on loopback, and runs a command.

    tests/stores.py [--without NAME]... COMMAND...

Postgres comes from Debian. moto and dynalite, which imitate DynamoDB, are installed into
target/stores from PyPI and npm. The command finds the servers in these environment variables:

- TOOLRUNNER_TEST_POSTGRES, a URL without a database;
- TOOLRUNNER_TEST_MOTO and TOOLRUNNER_TEST_DYNALITE, URLs;
- TOOLRUNNER_TEST_POSTGRES_RESTART and TOOLRUNNER_TEST_DYNALITE_RESTART, commands that kill the
  server and start it again.

All servers end when the command ends.
"""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "serve"))
from run import free_port

TOOLS = Path(__file__).parent.parent / "target/stores"
PYTHON_PACKAGES = ["moto==5.2.5", "flask", "flask-cors", "py-partiql-parser"]
# Serves one request at a time: moto checks the condition of a write and writes in two steps,
# without a lock.
MOTO = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""
DYNALITE = "dynalite@4.0.0"


def wait_for(port, process, name):
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process is not None and process.poll() is not None:
                break
            time.sleep(0.1)
    sys.exit(f"{name} does not answer on port {port}")


def postgres(folder):
    """Starts a Postgres server as the user `postgres`, because Postgres refuses to run as root."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not binaries:
        sys.exit("Postgres is missing: apt-get install postgresql")
    port, data = free_port(), folder / "postgres"
    data.mkdir()
    prefix = []
    if os.getuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(data, account.pw_uid, account.pw_gid)
        prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    control = [*prefix, str(binaries[-1] / "pg_ctl"), "-D", str(data / "db"), "-l", str(data / "log")]
    (data / "password").write_text("secret")
    os.chmod(data / "password", 0o644)
    initdb = [str(binaries[-1] / "initdb"), "-U", "test", "-A", "scram-sha-256", f"--pwfile={data}/password", "-D", str(data / "db")]
    subprocess.run([*prefix, *initdb], check=True, stdout=subprocess.DEVNULL, cwd=data)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k '' -c max_connections=200"
    start = [*control, "-o", options, "-w", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=data)
    url = f"postgres://test:secret@127.0.0.1:{port}"
    for name in ["suite", "kills", "errors", "serve", "contract", "hooks"]:
        subprocess.run(["psql", "-q", f"{url}/postgres", "-c", f"CREATE DATABASE {name}"], check=True)
    # Stops Postgres as a crash would, without a checkpoint, so that it recovers from its log.
    restart = folder / "restart-postgres"
    words = lambda command: " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)
    stop = [*control, "-m", "immediate", "stop"]
    restart.write_text(f"#!/bin/sh\ncd {data}\n{words(stop)} >/dev/null\nexec {words(start)} >/dev/null 2>&1\n")
    restart.chmod(0o755)
    os.environ["TOOLRUNNER_TEST_POSTGRES"] = url
    os.environ["TOOLRUNNER_TEST_POSTGRES_RESTART"] = str(restart)
    return lambda: subprocess.run(stop, stdout=subprocess.DEVNULL, cwd=data)


def moto(folder):
    python = TOOLS / "python/bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", TOOLS / "python"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PYTHON_PACKAGES], check=True)
    port = free_port()
    with open(folder / "moto.log", "w") as log:
        process = subprocess.Popen([python, "-c", MOTO, str(port)], stdout=log, stderr=log)
    wait_for(port, process, "moto")
    os.environ["TOOLRUNNER_TEST_MOTO"] = f"http://127.0.0.1:{port}"
    return process.kill


def dynalite(folder):
    program = TOOLS / "node_modules/.bin/dynalite"
    if not program.exists():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", TOOLS, DYNALITE], check=True)
    port = free_port()
    # Each restart starts a new process, so its id is kept in a file.
    start, number = folder / "restart-dynalite", folder / "dynalite.pid"
    options = f"--host 127.0.0.1 --port {port} --path {folder}/dynalite --createTableMs 0"
    start.write_text(
        f"#!/bin/sh\n[ ! -e {number} ] || kill -9 $(cat {number})\n"
        f"setsid {program} {options} >>{folder}/dynalite.log 2>&1 &\necho $! >{number}\n"
        f"for try in $(seq 100); do curl -s -o {folder}/answer http://127.0.0.1:{port}/ && exit; sleep 0.1; done; exit 1\n"
    )
    start.chmod(0o755)
    subprocess.run([start], check=True)
    os.environ["TOOLRUNNER_TEST_DYNALITE"] = f"http://127.0.0.1:{port}"
    os.environ["TOOLRUNNER_TEST_DYNALITE_RESTART"] = str(start)
    return lambda: os.kill(int(number.read_text()), signal.SIGKILL)


def main():
    command, without = sys.argv[1:], []
    while command[:1] == ["--without"]:
        without.append(command[1])
        command = command[2:]
    if not command:
        sys.exit(__doc__)
    # Ensures that a timeout from outside also stops the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    TOOLS.mkdir(parents=True, exist_ok=True)
    folder, stops = Path(tempfile.mkdtemp(prefix="toolrunner-stores-")), []
    folder.chmod(0o755)
    try:
        for start in [postgres, moto, dynalite]:
            if start.__name__ not in without:
                stops.append(start(folder))
        code = subprocess.run(command).returncode
    finally:
        for stop in stops:
            stop()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


main()

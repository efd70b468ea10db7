#!/usr/bin/env python3
"""Runs toolrunner-linux against the scripted server, and compares its output with expected.txt.

usage: run.py TOOLRUNNER_LINUX SCRIPTED_SERVER
"""
import subprocess
import sys
from pathlib import Path

program, server = sys.argv[1:]
expected = Path(__file__).with_name("expected.txt").read_text()
with subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as scripted:
    try:
        url = scripted.stdout.readline().strip()
        command = [program, url, "What is the weather like in Paris?"]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    finally:
        scripted.stdin.close()
if run.returncode != 0 or run.stdout != expected:
    sys.exit(f"exit code {run.returncode}, printed:\n{run.stdout}expected:\n{expected}")
# Nobody listens there.
run = subprocess.run([program, "http://127.0.0.1:9", "Is anybody there?"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
if run.returncode != 1 or "could not connect" not in run.stdout:
    sys.exit(f"exit code {run.returncode} without a server, printed:\n{run.stdout}")
print("2 passed, 0 failed")

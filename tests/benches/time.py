#!/usr/bin/env python3
"""Times each piece of work and its floors in processor time, in one run, and builds the table of ratios
for README.md.

    tests/benches/time.py            prints the table
    tests/benches/time.py --write    writes it to README.md
"""
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CRITERION = HERE / "target/criterion"

subprocess.run(["cargo", "build", "-q", "--locked", "--release"], cwd=HERE, check=True)
bench = subprocess.run(["cargo", "bench", "-q", "--locked", "--bench", "times", "--", "--noplot"], cwd=HERE, capture_output=True, text=True)
if bench.returncode != 0:
    sys.exit(bench.stdout + bench.stderr)
times = {}
for path in CRITERION.glob("*/*/new/benchmark.json"):
    bench = json.loads(path.read_text())
    estimates = json.loads(path.with_name("estimates.json").read_text())
    times.setdefault(bench["group_id"], {})[bench["function_id"]] = estimates["median"]["point_estimate"]

listed = subprocess.run([HERE / "target/release/toolrunner-benches", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
sizes = dict(line.split("\t") for line in listed.splitlines())
rows = ["| Case | × memcpy | × memchr | GB/s |", "|---|--:|--:|--:|"]
for case, size in sizes.items():
    if case in times:
        own, floor = times[case]["toolrunner"], times[case]
        speed = int(size) / own
        # This case returns slices and touches few bytes, so a speed per byte means nothing.
        told = f"{speed:.2f}" if speed < 100 else "–"
        times_floor = [f"{own / floor[of]:.1f}" if own > 0.05 * floor[of] else "< 0.1" for of in ("memcpy", "memchr")]
        rows.append(f"| {case} | {times_floor[0]} | {times_floor[1]} | {told} |")
rows += ["", "| Conversation of three turns | × hyper |", "|---|--:|"]
for case in sorted(times.keys() - sizes.keys()):
    rows.append(f"| {case.split(', ')[1]} | {times[case]['toolrunner'] / times[case]['hyper']:.2f} |")
table = "\n".join(rows) + "\n"
print(table)
if "--write" in sys.argv:
    readme = HERE / "README.md"
    readme.write_text(re.sub(r"(?s)(<!-- times -->\n).*?(<!-- end -->)", lambda found: found[1] + table + found[2], readme.read_text()))

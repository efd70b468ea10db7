#!/usr/bin/env python3
"""Counts the instructions per byte of each case of `bench` under callgrind, beside two floors: scanning
and copying the same bytes.

    tests/benches/count.py           compares with counts.txt: 3 % more fails
    tests/benches/count.py --write   rewrites counts.txt and the table in README.md

The counts depend on the compiler. If rustc differs from the version in counts.txt, the program says so
and compares nothing.
"""
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCH = HERE / "target/release/toolrunner-benches"
TIMES = 20
MOST = 1.03

subprocess.run(["cargo", "build", "-q", "--locked", "--release"], cwd=HERE, check=True)
rustc = subprocess.run(["rustc", "-V"], cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def instructions(case, times):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", BENCH, case, str(times)]
    told = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    return int(re.search(r"Collected : (\d+)", told)[1])


listed = subprocess.run([BENCH, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
counts = {}
for line in listed.splitlines():
    case, size = line.split("\t")
    # The cost of starting up is in both counts, so the difference excludes it.
    each = (instructions(case, 2 * TIMES) - instructions(case, TIMES)) // TIMES
    counts[case] = (each, int(size))

per_byte = {case: each / size for case, (each, size) in counts.items()}
memchr = per_byte["floor: memchr"]
rows = ["| Case | Bytes | Instructions | per byte | × memchr |", "|---|--:|--:|--:|--:|"]
for case, (each, size) in counts.items():
    rows.append(f"| {case} | {size} | {each} | {per_byte[case]:.2f} | {per_byte[case] / memchr:.1f} |")
table = "\n".join(rows) + "\n"
print(table)

kept = HERE / "counts.txt"
if "--write" in sys.argv:
    kept.write_text(f"{rustc}\n" + "".join(f"{each}\t{case}\n" for case, (each, _) in counts.items()))
    readme = HERE / "README.md"
    readme.write_text(re.sub(r"(?s)(<!-- table -->\n).*?(<!-- end -->)", lambda found: found[1] + table + found[2], readme.read_text()))
    sys.exit()

lines = kept.read_text().splitlines()
if lines[0] != rustc:
    print(f"skipped: counts.txt was made with {lines[0]}, and this is {rustc}; nothing is compared")
    sys.exit()
failed = 0
held = {case: int(each) for each, case in (line.split("\t") for line in lines[1:])}
for case in sorted(held.keys() | counts.keys()):
    now, before = counts.get(case, (None,))[0], held.get(case)
    if now is None or before is None:
        print(f"{case}: in counts.txt {before}, now {now}")
        failed += 1
    elif now > before * MOST:
        print(f"{case}: {now} instructions, {100 * now / before - 100:.1f} % more than the {before} of counts.txt")
        failed += 1
print(f"{len(counts) - failed} passed, {failed} failed")
sys.exit(bool(failed))

"""Runs the tests of core and of both transports under valgrind's memcheck: as many programs at a time as there are processors.

    valgrind.py [SUITE...]      all, or only these

An invalid read or write, a use of what was never written, or memory that is lost for good fails. What is left out stands below, each
with its reason. It prints the processor's time of each suite.
"""
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import time

PACKAGES = [
    ("toolrunner-core", ["--all-features"]),
    ("toolrunner-std", ["--all-features"]),
    ("toolrunner-embassy", ["--features", "flash"]),
]
MEMCHECK = ["valgrind", "-q", "--error-exitcode=9", "--fair-sched=yes", "--leak-check=full", "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite"]
# ring's assembly writes what memcheck does not see written. In suites with TLS of rustls, uses of what was never written are not judged;
# all else is.
TLS = {"embassy/network", "std/errors", "std/failures", "std/proxies", "std/secrets", "std/tls"}
# Tests, by what their names hold. Sweeps take minutes here, and what they sweep over other tests go through once.
TIMED = "has a limit on real time"
SWEEP = "a sweep that takes minutes"
SKIPPED = {
    "core/loop_bad_input": {"thousands_of_citations": TIMED},
    "core/loop_capacity": {"every_capacity_": SWEEP, "more_calls_than_a_turn_may_have": TIMED},
    "core/loop_random": {"random_verbs_drops_faults_and_limits": SWEEP},
    "core/number": {"written_as_serde_json_does": SWEEP, "read_as_std_does": SWEEP},
    "core/wire_cuts": {"": SWEEP},
    # The verifier is in embassy/network's handshakes too.
    "embassy/certificates": {"": "elliptic curves in unoptimised Rust, for each of hundreds of chains: minutes"},
    "std/failures": {"a_body_that_stalls": TIMED, "the_time_counts_from": TIMED, "a_connection_that_does_not_come_about": TIMED},
    "std/logging": {"one_error_record_for_each_tool": TIMED},
    "std/snapshots": {"a_call_that_ran_when_the_process_died": TIMED},
    "std/tls": {
        "that_is_silent_is_not_used_again": TIMED,
        "closed_between_requests_is_replaced": "counts on it that a close is seen before the next request goes out",
    },
    "std/tools": {"a_time_limit_ends_what_is_under_way": TIMED},
    "std/verbs": {"any_verbs_in_any_order": SWEEP},
}


def programs():
    """The test programs, and the folder that each runs in."""
    found = []
    for package, features in PACKAGES:
        command = ["cargo", "test", "-q", "-p", package, *features, "--tests", "--no-run", "--message-format=json"]
        built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        for message in map(json.loads, built.splitlines()):
            if message.get("executable") and message.get("profile", {}).get("test"):
                suite = package.removeprefix("toolrunner-") + "/" + message["target"]["name"]
                found.append((suite, message["executable"], os.path.dirname(message["manifest_path"])))
    return found


def run(program):
    """Runs one program; gives what it printed if it failed."""
    suite, executable, folder = program
    skipped = [word for name in SKIPPED.get(suite, {}) for word in ("--skip", name)]
    judged = ["--undef-value-errors=no"] if suite in TLS else []
    start = time.monotonic()
    # One test at a time: memcheck runs one thread at a time anyway, and a limit on real time then counts for one test.
    done = subprocess.run([*MEMCHECK, *judged, executable, "-q", "--test-threads=1", *skipped], cwd=folder, env=os.environ | {"CARGO_MANIFEST_DIR": folder},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    result = next((line for line in done.stdout.splitlines() if line.startswith("test result:")), "no test result")
    print(f"{time.monotonic() - start:6.1f} s  {suite}  {result.removeprefix('test result: ').split('; finished')[0]}", flush=True)
    return None if done.returncode == 0 else f"== {suite}, exit code {done.returncode}\n{done.stdout}"


def main(*wanted):
    chosen = [program for program in programs() if (not wanted or program[0] in wanted) and "" not in SKIPPED.get(program[0], {})]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = [output for output in pool.map(run, chosen) if output]
    for suite, tests in SKIPPED.items():
        for name, reason in tests.items():
            print(f"skipped in {suite}: {name or 'all'}: {reason}")
    print(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} s of processors' time")
    sys.exit("\n".join(failed) or 0)


main(*sys.argv[1:])

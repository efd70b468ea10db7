"""Runs the tests of core, its C interface and both transports under valgrind's memcheck, with as many
programs at a time as there are processors.

    valgrind.py [NAME...]       all, or only these suites and packages: core/fold, core

An invalid access, a use of uninitialized memory or a definite leak fails. The lists below name the
tests that are skipped, each with its reason. The output includes the processor time of each suite.
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import threading

PACKAGES = [
    ("toolrunner-core", ["--all-features"]),
    ("toolrunner-c", []),
    # Built with ring, which the lists below are about, and without the second TLS provider.
    ("toolrunner-std", ["--features", "logging,testing,webpki-roots"]),
    ("toolrunner-embassy", ["--features", "embassy-net,flash"]),
]
MEMCHECK = ["valgrind", "-q", "--error-exitcode=9", "--fair-sched=yes", "--leak-check=full", "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite"]
# memcheck does not see what ring's assembly writes. In suites that use rustls, uses of
# uninitialized memory are not reported; all other errors are.
TLS = {"embassy/network", "std/connections", "std/errors", "std/failures", "std/patience", "std/provider", "std/proxies", "std/secrets", "std/tls"}
# The seconds after which a program is considered to hang.
LONGEST = 900
# Skipped tests, by a part of their name. Sweeps take minutes here, and other tests cover each of
# their paths once.
TIMED = "has a limit on real time"
SWEEP = "a sweep that takes minutes"
SKIPPED = {
    "core/fold": {"a_folded_schema_allows_the_same_inputs": SWEEP},
    "core/history": {"random_histories": SWEEP},
    "core/loop_bad_input": {"thousands_of_citations": TIMED},
    "core/loop_capacity": {"every_capacity_": SWEEP, "more_calls_than_a_turn_may_have": TIMED},
    "core/loop_random": {"random_verbs_drops_faults_and_limits": SWEEP},
    "core/number": {"written_as_serde_json_does": SWEEP, "read_as_std_does": SWEEP},
    "core/snapshot_changed": {"every_single_change": SWEEP, "a_changed_snapshot_without_a_sum": SWEEP},
    "core/wire_cuts": {"": SWEEP},
    "core/testing_inputs": {"": SWEEP},
    "core/serde_json_core": {"": "leaks inputs, since the types borrow from them"},
    "core/output": {"set_up_is_checked": "leaks definitions, since they live as long as the program"},
    # The handshakes of embassy/network cover the verifier too.
    "embassy/certificates": {"": "elliptic curves in unoptimised Rust, for each of hundreds of chains: minutes"},
    "std/failures": {"a_body_that_stalls": TIMED, "the_time_counts_from": TIMED},
    "std/panics": {"": "what a panic interrupts in Drop is never freed"},
    "std/patience": {"": TIMED},
    "std/soak": {"": SWEEP},
    "std/work": {"": TIMED},
    "std/verbs": {"any_verbs_in_any_order": SWEEP},
}


def programs(wanted):
    """Returns the test programs of the requested packages, and the folder that each runs in."""
    found = []
    for package, features in PACKAGES:
        if wanted and not any(name.split("/")[0] == package.removeprefix("toolrunner-") for name in wanted):
            continue
        command = ["cargo", "test", "-q", "-p", package, *features, "--tests", "--no-run", "--message-format=json"]
        built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        for message in map(json.loads, built.splitlines()):
            if message.get("executable") and message.get("profile", {}).get("test"):
                suite = package.removeprefix("toolrunner-") + "/" + message["target"]["name"]
                found.append((suite, message["executable"], os.path.dirname(message["manifest_path"])))
    return found


def run(program):
    """Runs one program. Returns the processor time it took, and its output if it failed."""
    suite, executable, folder = program
    skipped = [word for name in SKIPPED.get(suite, {}) for word in ("--skip", name)]
    judged = ["--undef-value-errors=no"] if suite in TLS else []
    # One test at a time: memcheck runs one thread at a time anyway, and a limit on real time then
    # applies to one test.
    command = [*MEMCHECK, *judged, executable, "--test-threads=1", *skipped]
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        child = subprocess.Popen(command, cwd=folder, env=os.environ | {"CARGO_MANIFEST_DIR": folder}, stdin=subprocess.DEVNULL,
                                 stdout=printed, stderr=subprocess.STDOUT)
        # A test that hangs is killed; the last line of the output names it.
        killer = threading.Timer(LONGEST, child.kill)
        killer.start()
        # subprocess does not report what one child used; wait4 does.
        _, status, used = os.wait4(child.pid, 0)
        killer.cancel()
        code = child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        output = printed.read()
    result = next((line for line in output.splitlines() if line.startswith("test result:")), "no test result")
    seconds = used.ru_utime + used.ru_stime
    # The tests may pass even so: memcheck reports its own errors with exit code 9.
    failed = f"  FAILED, exit code {code}" if code else ""
    print(f"{seconds:6.1f} s  {suite}  {result.removeprefix('test result: ').split('; finished')[0]}{failed}", flush=True)
    return seconds, None if code == 0 else f"== {suite}, exit code {code}\n{output}"


def main(*wanted):
    def is_wanted(suite):
        return not wanted or suite in wanted or suite.split("/")[0] in wanted

    chosen = [program for program in programs(wanted) if is_wanted(program[0]) and "" not in SKIPPED.get(program[0], {})]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(run, chosen))
    for suite, tests in SKIPPED.items():
        for name, reason in tests.items():
            print(f"skipped in {suite}: {name or 'all'}: {reason}")
    print(f"{sum(seconds for seconds, _ in done):.0f} s of processors' time")
    sys.exit("\n".join(output for _, output in done if output) or 0)


main(*sys.argv[1:])

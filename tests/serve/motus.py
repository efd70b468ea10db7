#!/usr/bin/env python3
"""Checks the tables "If you know Motus" of the server's README.

usage: motus.py

Every export, parameter, option, command and environment variable of Motus 0.4.3 and of its page about
ToolRunner has a row, and what a row names here exists in the code: options and commands of the
command line, environment variables, and items of the crates.
"""
import pathlib, re, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SERVE = ROOT / "transport-std" / "serve"

# What the page lists, and what Motus' serving adds to it.
EXPORTS = """ToolRunner beta_async_tool beta_tool BetaAsyncFunctionTool BetaFunctionTool BetaAsyncBuiltinFunctionTool
BetaBuiltinFunctionTool MotusBetaToolRunner MotusBetaAsyncToolRunner MotusBetaStreamingToolRunner
MotusBetaAsyncStreamingToolRunner get_tracer() TraceManager AsyncAnthropic() ChatMessage""".split()
PARAMETERS = "model max_tokens tools system max_iterations **kwargs requires_approval".split()
SPANS = "agent_call model_call tool_call".split()
COMMANDS = "start health create get sessions messages delete send chat deploy login logout whoami".split()
OPTIONS = """--host --port --workers --ttl --timeout --max-sessions --allow-custom-ids --shutdown-timeout --log-level --param
--wait --role --webhook-url --webhook-token --webhook-include-messages --session --keep""".split()
VARIABLES = """ANTHROPIC_API_KEY ANTHROPIC_BASE_URL LITHOSAI_API_KEY LITHOSAI_URL MOTUS_ON_CLOUD MOTUS_PROJECT MOTUS_BUILD
MOTUS_LOG_LEVEL MOTUS_TRACING MOTUS_TRACING_EXPORT MOTUS_TRACING_DIR MOTUS_TRACING_ONLINE MOTUS_COLLECTION_LEVEL
MOTUS_SESSION_ID SANDBOX_URL SANDBOX_TOKEN""".split()
OTHERS = ["module:variable", "/eval/judge", "/docs", "/redoc", "total_cost_usd", "user_params", "interrupt(payload)", "run_turn", "DynamoDB", "@tool"]


def rows():
    """Returns the cells of the tables' rows: what Motus has, and what exists here."""
    text = (SERVE / "README.md").read_text()
    part = text.split("\n## If you know Motus\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    # A vertical line in code is escaped.
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    if any(len(row) != 2 for row in cells):
        sys.exit(f"FAIL  rows have two cells: {[row for row in cells if len(row) != 2]}")
    return [row for row in cells if not set(row[0]) <= set("-: ") or row[0] == "–"]


def has(left, name):
    """Returns whether one of the cells names this, as a whole word."""
    word = re.compile(r"(?<![\w-])" + re.escape(name) + r"(?![\w-])")
    return any(word.search(cell) for cell in left)


def main():
    table = rows()
    left, right = [row[0] for row in table], "\n".join(row[1] for row in table)
    names = EXPORTS + PARAMETERS + SPANS + COMMANDS + OPTIONS + VARIABLES + OTHERS
    problems = [f"no row names {name}" for name in names if not has(left, name)]
    problems += [f"nothing is said about {row[0]}" for row in table if not row[1]]

    def code(folder):
        return "\n".join(path.read_text() for path in sorted((ROOT / folder).rglob("*.rs")))

    start, commands = (SERVE / "src/cli/start.rs").read_text(), (SERVE / "src/cli/mod.rs").read_text()
    everything = code("transport-std/serve/src") + code("transport-std/src") + code("core/src") + code("core/macros")
    for option in set(re.findall(r"`(--[a-z-]+)", right)):
        if not re.search(rf"\b{option[2:].replace('-', '_')}:", start + commands):
            problems.append(f"there is no option {option}")
    for variable in set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", right)):
        # The SDK of OpenTelemetry reads its variables itself.
        if f'"{variable}"' not in everything and not variable.startswith("OTEL_"):
            problems.append(f"nothing reads {variable}")
    for kind, item in set(re.findall(r"`(?!tracing::)(?:\w+::)*([A-Z]\w+)::(\w+)", right)):
        if not re.search(rf"\bpub (?:const |async )*(?:fn )?{item}\b", everything):
            problems.append(f"{kind} has no {item}")
    for problem in problems:
        print(f"FAIL  {problem}")
    if problems:
        return 1
    print(f"ok    the tables name all {len(names)} names of Motus, in {len(table)} rows, and what they name here exists")
    return 0


if __name__ == "__main__":
    sys.exit(main())

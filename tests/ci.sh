#!/usr/bin/env bash
# Everything that this project is checked by.
#
#   tests/ci.sh             all parts, with the time of each
#   tests/ci.sh PART...     only these
#   tests/ci.sh --list      their names
#   tests/ci.sh dynamodb    the store in DynamoDB, whose SDK takes minutes to build
#   tests/ci.sh long        what takes hours: 200 000 random conversations; more than 500 servers and as many writers are killed
#
# On Debian, as root, it installs what it needs. Elsewhere it says what is missing and which parts it skipped for that; with NO_SKIP=1
# a skipped part is a failure. SCENARIOS=DIR plays the scenarios in DIR too. Logs: target/ci.
set -euo pipefail
cd "$(dirname "$0")/.."
# Tests run in their packages' folders.
if [ -n "${SCENARIOS:-}" ]; then
    SCENARIOS=$(cd "$SCENARIOS" && pwd)
    export SCENARIOS
fi

# In the order in which they run: what fails soonest first.
PARTS=(fmt deny deps clippy unit soak faults doc conformance serve stores kills playground fuzz valgrind bench c wasm targets
    no_panic firmware sizes)

# Debian's packages of a part, besides rustup's toolchain.
packages() {
    case $1 in
    fmt) ;;
    deny) echo python3 ca-certificates ;;
    deps) echo python3 gcc libc6-dev ca-certificates ;;
    clippy | unit | soak | faults | doc | conformance | fuzz) echo gcc libc6-dev ca-certificates ;;
    serve) echo python3 curl gcc libc6-dev ca-certificates ;;
    c) echo valgrind python3 rustc-web cargo-web rust-web-src gcc-arm-none-eabi qemu-system-arm gcc g++ libc6-dev ca-certificates ;;
    wasm) echo chromium rustc-web cargo-web rust-web-src lld python3 gcc libc6-dev ca-certificates ;;
    playground) echo chromium python3 curl gcc libc6-dev ca-certificates ;;
    stores) echo postgresql python3 gcc libc6-dev ca-certificates ;;
    kills) echo postgresql nginx-light python3 curl gcc libc6-dev ca-certificates ;;
    dynamodb) echo python3-venv curl gcc libc6-dev ca-certificates ;;
    long) echo valgrind postgresql nginx-light python3-venv curl gcc libc6-dev ca-certificates ;;
    valgrind | bench) echo valgrind python3 gcc libc6-dev ca-certificates ;;
    targets) echo rustc-web cargo-web rust-web-src gcc libc6-dev ca-certificates ;;
    no_panic) echo rustc-web cargo-web rust-web-src lld llvm python3 gcc libc6-dev ca-certificates ;;
    firmware | sizes) echo rustc-web cargo-web rust-web-src lld llvm qemu-system-arm gcc libc6-dev python3 openssl ca-certificates ;;
    *) return 1 ;;
    esac
}

# ---- the parts; each runs in a shell of its own, so that its first failing command ends it ----

# The workspace, and the packages outside of it.
part_fmt() {
    cargo fmt --all -- --check
    local folder
    for folder in tests/fuzz tests/benches tests/no-panic examples/firmware; do
        (cd "$folder" && cargo fmt -- --check)
    done
}

part_clippy() {
    # The DynamoDB store is left out here and in `doc`: its SDK takes minutes. See `dynamodb`.
    cargo clippy --workspace --exclude toolrunner-serve-dynamodb --all-targets --all-features -- -D warnings
    cargo clippy -p toolrunner-core --no-default-features -- -D warnings
    cargo clippy -p toolrunner-core --features alloc -- -D warnings
    cargo clippy -p toolrunner-std --no-default-features -- -D warnings
    cargo clippy -p toolrunner-serve --no-default-features -- -D warnings
}

part_unit() {
    # defmt's records need a probe's end, which no program of the host has: that feature is built for chips and in clippy.
    # The faults are a part of their own.
    cargo test --workspace --exclude toolrunner-embassy --exclude toolrunner-serve-dynamodb --all-features -- --skip every_fault_on_every_adapter
    cargo test -p toolrunner-embassy --features flash
    # A feature only adds, but what is built with all of them hides what needs one.
    cargo test -p toolrunner-core
    cargo test -p toolrunner-core --features alloc
}

# Licences, sources and banned crates of every lock file, and duplicates of the workspace's, by deny.toml. Building cargo-deny takes longer
# than all else here; this does not know advisories: see "Dependencies" in CONTRIBUTING.md.
part_deny() {
    python3 tests/deny.py
}

# Random conversations over the front end, no call lost and none run twice: see transport-std/tests/soak.
part_soak() {
    SOAK="${SOAK:-20000}" cargo test -q --profile soak -p toolrunner-std --features testing --test soak -- --nocapture
}

# Five conversations under every fault on each adapter; prints the matrix.
part_faults() {
    cargo test -q -p toolrunner-tests --test faults -- --nocapture
}

# The engine of serving under many schedules of crashes and failures, the HTTP contract on the stores that need nothing installed, and
# the traces of a server.
part_serve() {
    SIMULATOR_SCHEDULES=100000 cargo test --profile soak -p toolrunner-serve --lib simulator
    cargo build -p toolrunner-examples-serve --bins
    local store
    for store in memory sqlite; do
        python3 tests/serve/run.py target/debug/contract_agent --store "$store" --patience 4
    done
    python3 tests/serve/run.py target/debug/contract_agent --profile motus --patience 3
    python3 tests/serve/traces.py target/debug/contract_agent
    python3 tests/serve/webhooks.py target/debug/contract_agent --patience 2
    python3 tests/serve/interface.py target/debug/contract_agent
}

# The page of the server in headless Chromium, as wide as a desktop and as a phone.
part_playground() {
    cargo build -p toolrunner-examples-serve --bin contract_agent
    python3 tests/serve/playground.py target/debug/contract_agent
}

# Each target for this many seconds, with the stable harness. See tests/fuzz.
part_fuzz() {
    (cd tests/fuzz && cargo run -q --locked --release --bin fuzz -- --seconds "${FUZZ_SECONDS:-20}")
}

# The suites of core and of the board's transport under memcheck, but for what tests/valgrind.py leaves
# out, each with its reason. Those of toolrunner-std, which has no `unsafe`, are in `long`.
part_valgrind() {
    python3 tests/valgrind.py core embassy
}

# Instructions of the machine's own work, held by tests/benches/counts.txt; and that what is timed still runs.
part_bench() {
    python3 tests/benches/count.py
    (cd tests/benches && cargo bench -q --locked --bench times -- --test >/dev/null)
}

part_doc() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --exclude toolrunner-serve-dynamodb --all-features --no-deps
}

part_conformance() {
    local files=(tests/scenarios)
    if [ -n "${SCENARIOS:-}" ]; then
        files+=("$SCENARIOS")
    fi
    for configuration in std embedded embassy; do
        echo "# $configuration"
        cargo run -q --release -p toolrunner-tests --bin conformance -- --transport "$configuration" "${files[@]}"
    done
}

# The suite that every store must pass, in memory, SQLite and Postgres. Processes that write, and the database, which tests/stores.py
# runs, are killed this many times.
part_stores() {
    TOOLRUNNER_KILLS=${STORE_KILLS:-5} python3 tests/stores.py --without moto --without dynalite \
        cargo test -p toolrunner-serve --features postgres,testing --test store_memory --test store_sqlite --test store_postgres -- \
        "${STORE_TESTS[@]}"
}

# The same suite in DynamoDB, on moto and dynalite.
part_dynamodb() {
    cargo clippy -p toolrunner-serve-dynamodb --all-targets --all-features -- -D warnings
    TOOLRUNNER_KILLS=${STORE_KILLS:-5} python3 tests/stores.py --without postgres \
        cargo test -p toolrunner-serve-dynamodb -- "${STORE_TESTS[@]}"
}

# One test after another: one of them kills the database.
STORE_TESTS=(--include-ignored --skip figures --test-threads 1)

# The contract suite on Postgres; servers that are killed in the middle of turns, on SQLite and on Postgres behind nginx.
part_kills() {
    local kills=${SERVER_KILLS:-16} agent=target/debug/contract_agent
    cargo build -p toolrunner-examples-serve --features postgres --bin contract_agent
    python3 tests/serve/kills.py "$agent" --kills "$kills"
    python3 tests/stores.py --without moto --without dynalite bash -ec "
        python3 tests/serve/run.py '$agent' --patience 4 --store \"\$TOOLRUNNER_TEST_POSTGRES/contract\"
        python3 tests/serve/webhooks.py '$agent' --patience 2 --store \"\$TOOLRUNNER_TEST_POSTGRES/hooks\"
        python3 tests/serve/kills.py '$agent' --kills '$kills' --nginx --store \"\$TOOLRUNNER_TEST_POSTGRES/serve\""
}

part_long() {
    python3 tests/valgrind.py std
    # Ten times as many conversations, none of them one of those above.
    SOAK_FIRST=1000001 SOAK=200000 part_soak
    STORE_KILLS=200 part_stores
    STORE_KILLS=200 part_dynamodb
    SERVER_KILLS=300 part_kills
}

# The C interface: header, library, and programs over it in C, in Python and on a Cortex-M in QEMU. See core/c/README.md.
part_c() {
    python3 tests/c.py header library desktop python firmware
    python3 tests/valgrind.py c
}

# The same as a WebAssembly module: its size, and its JavaScript package in Node.js and in headless Chromium.
part_wasm() {
    python3 tests/c.py module node browser
}

# What a dependency on core or on toolrunner-std brings along, the order of core's rooms, and that each feature builds by itself.
part_deps() {
    python3 tests/deps.py
    cargo test -p toolrunner-tests --test rooms
    local feature printed
    for feature in "" http2 proxy ring aws-lc-rs webpki-roots logging otel testing; do
        echo "toolrunner-std with the features [$feature]"
        printed=$(cargo check -q -p toolrunner-std --no-default-features --features "$feature" 2>&1) || { echo "$printed" && return 1; }
        # A warning is a failure, without other flags that would have everything built twice.
        [ -z "$printed" ] || { echo "$printed" && return 1; }
    done
}

# Debian's toolchain has the sources of core, so no target of rustup is needed. What it builds is kept apart from rustup's.
chip_cargo() {
    env -u RUSTUP_TOOLCHAIN -u CARGO -u RUSTFLAGS RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo "$@"
}

# Chips without and with atomics, floating point and long multiplication, by what their compilers call them.
CHIPS=(thumbv6m-none-eabi thumbv7em-none-eabi thumbv7em-none-eabihf thumbv8m.main-none-eabi riscv32imc-unknown-none-elf
    riscv32imac-unknown-none-elf)

part_targets() {
    local target
    # Every feature but those that need a heap; then those.
    for target in "${CHIPS[@]}"; do
        echo "# $target"
        chip_cargo check -q -p toolrunner-core -p toolrunner-c -p toolrunner-embassy --features \
            toolrunner-core/macros,toolrunner-core/defmt,toolrunner-embassy/defmt,toolrunner-embassy/flash \
            --target "$target" --target-dir target/chips -Z build-std=core
        chip_cargo check -q -p toolrunner-core --features macros,defmt,serde --target "$target" --target-dir target/chips \
            -Z build-std=core,alloc
    done
    # With no feature at all, and built: where neither atomics nor a long multiplication are to be had.
    for target in thumbv6m-none-eabi riscv32imc-unknown-none-elf; do
        echo "# $target, without features"
        chip_cargo build -q --release -p toolrunner-core -p toolrunner-embassy --no-default-features --target "$target" \
            --target-dir target/chips -Z build-std=core
    done
}

# Panics that an async driver has: for a future that is polled again after its end.
ASYNC_PANICS=(core::panicking::panic_fmt core::panicking::panic_const::panic_const_async_fn_resumed)

# The machine links only if no panic can be reached; the async driver has these alone; neither calls itself. See tests/no-panic.
part_no_panic() {
    local target
    for target in thumbv7m-none-eabi thumbv7em-none-eabi; do
        echo "# $target"
        (
            cd tests/no-panic
            chip_cargo build -q --locked --release --target "$target"
            local images=target/$target/release
            python3 image.py "$images/machine"
            python3 image.py "$images/driver" "${ASYNC_PANICS[@]}"
        )
    done
}

# The images for the emulated boards, in QEMU. See examples/firmware.
part_firmware() {
    [ -x target/tools/bin/defmt-print ] || cargo install -q --locked --root target/tools defmt-print@1.2.0
    cargo run -q -p toolrunner-tests --bin firmware
}

# What each stage of a firmware costs, held by examples/firmware/sizes.txt.
part_sizes() {
    cargo run -q -p toolrunner-tests --bin sizes
}

# ---- what runs them ----

has_package() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs what the given parts need, where that can be done.
install() {
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        return
    fi
    local part package missing=()
    for part in "$@"; do
        for package in $(packages "$part"); do
            has_package "$package" || missing+=("$package")
        done
    done
    if [ ${#missing[@]} -gt 0 ]; then
        mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
        echo "== installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

# What a part lacks, in words; nothing if it can run.
lacks() {
    local package missing=()
    if ! command -v cargo >/dev/null; then
        echo "cargo: install Rust 1.91 or later by rustup"
        return
    fi
    case $1 in
    playground | dynamodb | long | wasm) command -v npm >/dev/null || missing+=("npm, with Node.js 20 or later") ;;&
    fmt) cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt >/dev/null 2>&1 || missing+=(rustfmt) ;;
    clippy) cargo clippy --version >/dev/null 2>&1 || rustup component add clippy >/dev/null 2>&1 || missing+=(clippy) ;;
    unit | soak | faults | doc | conformance | fuzz) command -v cc >/dev/null || missing+=("a C compiler") ;;
    *)
        # Other systems have these under other names, and these parts name their programs by Debian's paths.
        for package in $(packages "$1"); do
            has_package "$package" || missing+=("Debian's $package")
        done
        ;;
    esac
    local IFS=,
    echo "${missing[*]}"
}

main() {
    local part start reason log seconds table="" failed=() skipped=() names=("$@")
    [ ${#names[@]} -gt 0 ] || names=("${PARTS[@]}")
    for part in "${names[@]}"; do
        if ! packages "$part" >/dev/null; then
            echo "no part is called $part; there are: ${PARTS[*]}" >&2
            exit 2
        fi
    done
    mkdir -p target/ci
    rm -f target/ci/*.log
    install "${names[@]}"
    for part in "${names[@]}"; do
        reason=$(lacks "$part")
        if [ -n "$reason" ]; then
            echo "== $part: skipped, it lacks $reason"
            skipped+=("$part")
            table+=$(printf '%-12s skipped: lacks %s' "$part" "$reason")$'\n'
            continue
        fi
        echo "== $part"
        start=$SECONDS log=target/ci/$part.log
        if bash "$0" --run "$part" </dev/null 2>&1 | tee "$log"; then
            reason=ok
        else
            reason=FAILED
            failed+=("$part")
        fi
        seconds=$((SECONDS - start))
        table+=$(printf '%-12s %4d s  %s' "$part" "$seconds" "$reason")$'\n'
    done
    echo "== times"
    printf '%s' "$table"
    # Tests and scenarios, as their programs counted them, and the parts themselves.
    cat target/ci/*.log 2>/dev/null | awk -v passed=$((${#names[@]} - ${#failed[@]} - ${#skipped[@]})) -v failed=${#failed[@]} '
        /^test result:/ { passed += $4; failed += $6 }
        /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
        END { print passed " passed, " failed " failed" }'
    if [ ${#skipped[@]} -gt 0 ]; then
        echo "skipped: ${skipped[*]}"
    fi
    if [ ${#failed[@]} -gt 0 ]; then
        echo "failed: ${failed[*]}"
        exit 1
    fi
    if [ ${#skipped[@]} -gt 0 ] && [ -n "${NO_SKIP:-}" ]; then
        exit 1
    fi
}

case ${1:-} in
--list) printf '%s\n' "${PARTS[@]}" ;;
--run) "part_$2" ;;
*) main "$@" ;;
esac

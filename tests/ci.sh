#!/usr/bin/env bash
# All checks of this project.
#
#   tests/ci.sh             runs all parts and prints the time of each
#   tests/ci.sh PART...     runs only these parts
#   tests/ci.sh --list      prints their names
#   tests/ci.sh dynamodb    runs the suite for the DynamoDB store, whose SDK takes minutes to build
#   tests/ci.sh long        runs the checks that take hours: 200 000 random conversations; 1 000 000 simulated schedules of a server;
#                           more than 500 killed servers and as many killed writers; the fuzz targets for five minutes each; the test
#                           suites of core and both transports under valgrind; more targets; the panics on a Cortex-M3; the C
#                           firmware built for size; the suite for the DynamoDB store
#
# On Debian, as root, it installs the packages that it needs. Elsewhere it reports the missing packages and skips the parts that need them;
# with NO_SKIP=1 a skipped part counts as a failure. SCENARIOS=DIR also plays the scenarios in DIR. The logs are in target/ci.
set -euo pipefail
cd "$(dirname "$0")/.."
# Tests run in the folders of their packages, so the path must be absolute.
if [ -n "${SCENARIOS:-}" ]; then
    SCENARIOS=$(cd "$SCENARIOS" && pwd)
    export SCENARIOS
fi

# In the order in which they run: the parts that fail soonest come first.
PARTS=(fmt deny deps clippy unit mcp soak faults doc package conformance serve stores kills playground fuzz bench tools c wasm targets
    no_panic firmware boards sizes)
# Parts that only build. They run one after the other, with low priority, beside those that mostly wait, the first of which is `serve`.
BESIDE=(tools targets no_panic)

# The Debian packages that a part needs besides rustup's toolchain.
packages() {
    case $1 in
    fmt) ;;
    deny) echo python3 ca-certificates ;;
    deps | doc | package | tools) echo python3 gcc libc6-dev ca-certificates ;;
    clippy | unit | soak | faults | conformance | fuzz) echo gcc libc6-dev ca-certificates ;;
    serve) echo python3 curl gcc libc6-dev ca-certificates ;;
    c) echo valgrind python3 rustc-web cargo-web rust-web-src gcc-arm-none-eabi qemu-system-arm gcc g++ libc6-dev ca-certificates ;;
    wasm) echo chromium rustc-web cargo-web rust-web-src lld python3 gcc libc6-dev ca-certificates ;;
    playground) echo chromium python3 curl gcc libc6-dev ca-certificates ;;
    stores) echo postgresql python3 gcc libc6-dev ca-certificates ;;
    kills) echo postgresql nginx-light python3 curl gcc libc6-dev ca-certificates ;;
    mcp) echo python3-venv gcc libc6-dev ca-certificates ;;
    dynamodb) echo python3-venv curl gcc libc6-dev ca-certificates ;;
    long) echo valgrind rustc-web cargo-web rust-web-src lld llvm gcc-arm-none-eabi postgresql nginx-light python3-venv curl gcc libc6-dev ca-certificates ;;
    valgrind | bench) echo valgrind python3 gcc libc6-dev ca-certificates ;;
    boards) echo rustc-web cargo-web rust-web-src lld python3 gcc libc6-dev ca-certificates ;;
    targets) echo rustc-web cargo-web rust-web-src gcc libc6-dev ca-certificates ;;
    no_panic) echo rustc-web cargo-web rust-web-src lld llvm python3 gcc libc6-dev ca-certificates ;;
    firmware | sizes) echo rustc-web cargo-web rust-web-src lld llvm qemu-system-arm qemu-system-misc gcc libc6-dev python3 openssl ca-certificates ;;
    *) return 1 ;;
    esac
}

# The packages and features of the debug builds that parts share, and of the optimized ones. Cargo resolves the features of the dependencies
# for the selected packages together, so a part that selected only what it needs would build most crates again. toolrunner-embassy is tested
# without its feature `defmt`, and the crates on the AWS SDK take minutes to build.
DEBUG=(--workspace --exclude toolrunner-embassy --exclude toolrunner-serve-dynamodb --exclude toolrunner-bedrock --all-features)
OPTIMIZED=(--profile soak -p toolrunner-std -p toolrunner-tests)

# Builds programs as `unit` builds them. The named test makes Cargo count the dependencies of tests, too.
debug_programs() {
    local program bins=()
    for program in "$@"; do
        bins+=(--bin "$program")
    done
    cargo build "${DEBUG[@]}" --test readme "${bins[@]}"
}

# Runs shell commands at the same time, for programs that mostly wait, and prints the output of each after its end.
together() {
    local command failed=0 processes=() i
    mkdir -p target/ci/together
    # Programs in the background do not receive the interrupt of a terminal.
    trap 'kill "${processes[@]}" 2>/dev/null' EXIT
    for command in "$@"; do
        bash -ec "$command" >"target/ci/together/${#processes[@]}" 2>&1 &
        processes+=($!)
    done
    for i in "${!processes[@]}"; do
        shift $((i > 0))
        wait "${processes[i]}" || failed=1
        echo "# $1"
        cat "target/ci/together/$i"
    done
    trap - EXIT
    return $failed
}

# ---- The parts. Each runs in its own shell, so that its first failing command ends it. ----

# Checks the format of the workspace and of the packages outside of it.
part_fmt() {
    cargo fmt --all -- --check
    local folder
    for folder in tests/fuzz tests/benches tests/no-panic examples/firmware examples/boards/*/; do
        # The part that all boards share is in no workspace.
        if [ -e "$folder/Cargo.lock" ]; then
            (cd "$folder" && cargo fmt -- --check)
        fi
    done
    rustfmt --edition 2024 --check examples/boards/agent/src/lib.rs
}

part_clippy() {
    # Excludes the DynamoDB store, as `doc` does, because its SDK takes minutes to build. See `dynamodb`.
    cargo clippy --workspace --exclude toolrunner-serve-dynamodb --exclude toolrunner-bedrock --all-targets --all-features -- -D warnings
    cargo clippy -p toolrunner-core --no-default-features -- -D warnings
    cargo clippy -p toolrunner-core --all-targets -- -D warnings
    cargo clippy -p toolrunner-core --features alloc -- -D warnings
    cargo clippy -p toolrunner-std --no-default-features -- -D warnings
    cargo clippy -p toolrunner-serve --no-default-features -- -D warnings
}

part_unit() {
    # The faults and the soak have their own parts.
    cargo test --no-fail-fast "${DEBUG[@]}" -- --skip every_fault_on_every_adapter --skip no_call_is_lost_and_none_runs_twice
    # The log records of the feature `defmt` need a debug probe, which does not exist on the host. It is built for chips and in clippy.
    cargo test -p toolrunner-embassy --features embassy-net,flash,reqwless
    # Features only add, but a build with all of them hides code that needs one of them.
    cargo test -p toolrunner-core
    cargo test -p toolrunner-core --features alloc
    cargo test -p toolrunner-core --features macros,serde-json-core
    cargo test -p toolrunner-core --no-default-features --features testing --test small_profile
}

# Runs toolrunner-mcp against servers on the official Python SDK, over stdio and over streamable HTTP.
part_mcp() {
    local python=target/mcp-python/bin/python
    [ -x "$python" ] || python3 -m venv target/mcp-python
    "$python" -m pip install --quiet --disable-pip-version-check 'mcp>=2.3,<3' uvicorn
    MCP_PYTHON="$PWD/$python" cargo test "${DEBUG[@]}" --test official -- --ignored
}

# Checks the licences, sources and banned crates of every lock file, and duplicates in the workspace's, by deny.toml. Building cargo-deny
# takes longer than everything else here. This part does not check advisories: see "Dependencies" in CONTRIBUTING.md.
part_deny() {
    python3 tests/deny.py
}

# Runs random conversations over the front end and checks that no call is lost or runs twice: see transport-std/tests/soak.
part_soak() {
    SOAK="${SOAK:-20000}" cargo test -q "${OPTIMIZED[@]}" --test soak -- --nocapture
}

# Runs five conversations under every fault on each adapter, and prints the matrix. An optimized build takes a tenth of the time.
part_faults() {
    cargo test -q "${OPTIMIZED[@]}" --test faults -- --nocapture
}

# Runs the engine of toolrunner-serve under many schedules of crashes and failures, the HTTP contract on the stores that need no
# installation, and the test of a server's traces.
part_serve() {
    SIMULATOR_SCHEDULES=${SIMULATOR_SCHEDULES:-10000} cargo test "${DEBUG[@]}" --lib simulator
    debug_programs contract_agent quickstart_server echo_agent
    together \
        "python3 tests/serve/run.py target/debug/contract_agent --store memory --patience 4" \
        "python3 tests/serve/run.py target/debug/contract_agent --store sqlite --patience 4" \
        "python3 tests/serve/run.py target/debug/contract_agent --profile motus --patience 3" \
        "python3 tests/serve/traces.py target/debug/contract_agent" \
        "python3 tests/serve/webhooks.py target/debug/contract_agent --patience 2" \
        "python3 tests/serve/interface.py target/debug/contract_agent" \
        "python3 tests/serve/motus.py"
    # The costs that are compared with the goals exactly are measured by hand: they need a quiet machine.
    python3 tests/serve/figures.py target/debug --smoke
}

# Tests the server's page in headless Chromium, at the width of a desktop and of a phone, and the browser toolset over Chromium.
part_playground() {
    cargo test "${DEBUG[@]}" --test chromium -- --ignored
    debug_programs contract_agent
    python3 tests/serve/playground.py target/debug/contract_agent
}

# Runs each fuzz target for FUZZ_SECONDS seconds with the stable engine. See tests/fuzz.
part_fuzz() {
    (cd tests/fuzz && cargo run -q --locked --release --bin fuzz -- --seconds "${FUZZ_SECONDS:-5}")
}

# Runs the test suites of core and of both transports under memcheck, except for the tests that tests/valgrind.py leaves out, with a reason
# for each. None of these packages has `unsafe`, so this belongs to `long`. The C interface, which has, is checked in `c`.
part_valgrind() {
    python3 tests/valgrind.py core embassy std
}

# Compares the instruction counts of the state machine with tests/benches/counts.txt, and checks that the timed benches run.
part_bench() {
    python3 tests/benches/count.py
    (cd tests/benches && cargo test -q --locked --bench times >/dev/null)
}

# Builds the documentation, and compares the public API of core and toolrunner-std with tests/api.
part_doc() {
    export RUSTDOCFLAGS=-Dwarnings
    cargo doc --workspace --exclude toolrunner-serve-dynamodb --exclude toolrunner-bedrock --all-features --no-deps
    python3 tests/api.py
}

# Makes the archive of each published package, checks its contents (README, licences, metadata), and builds and tests each package from
# its archive, except for the macros and the two on the AWS SDK. See tests/package.py.
part_package() {
    python3 tests/package.py
}

part_conformance() {
    local files=(tests/scenarios)
    if [ -n "${SCENARIOS:-}" ]; then
        files+=("$SCENARIOS")
    fi
    cargo build -q "${OPTIMIZED[@]}" --test soak --bin conformance
    for configuration in std blocking embedded embassy reqwless reqwless-per-request; do
        echo "# $configuration"
        target/soak/conformance --transport "$configuration" "${files[@]}"
    done
}

# Runs the suite that every store must pass, in memory, SQLite and Postgres. Writing processes and the database, which tests/stores.py
# starts, are killed STORE_KILLS times.
part_stores() {
    TOOLRUNNER_KILLS=${STORE_KILLS:-5} python3 tests/stores.py --without moto --without dynalite \
        cargo test "${DEBUG[@]}" --test store_memory --test store_sqlite --test store_postgres -- \
        "${STORE_TESTS[@]}"
}

# Runs the suite of the stores on DynamoDB, emulated by moto and dynalite.
part_dynamodb() {
    cargo clippy -p toolrunner-serve-dynamodb --all-targets --all-features -- -D warnings
    TOOLRUNNER_KILLS=${STORE_KILLS:-5} python3 tests/stores.py --without postgres \
        cargo test -p toolrunner-serve-dynamodb -- "${STORE_TESTS[@]}"
}

# One test at a time, because one of them kills the database.
STORE_TESTS=(--include-ignored --skip figures --test-threads 1)

# Runs the contract suite on Postgres, and kills servers in the middle of turns, on SQLite and on Postgres behind nginx.
part_kills() {
    debug_programs contract_agent
    python3 tests/serve/kills.py target/debug/contract_agent --kills "${SERVER_KILLS:-16}"
    python3 tests/stores.py --without moto --without dynalite bash tests/ci.sh --run kills_on_postgres
}

# The half of `kills` for which tests/stores.py has started Postgres.
part_kills_on_postgres() {
    local agent=target/debug/contract_agent
    together \
        "python3 tests/serve/run.py $agent --patience 4 --store $TOOLRUNNER_TEST_POSTGRES/contract" \
        "python3 tests/serve/webhooks.py $agent --patience 2 --store $TOOLRUNNER_TEST_POSTGRES/hooks"
    python3 tests/serve/kills.py "$agent" --kills "${SERVER_KILLS:-16}" --nginx --store "$TOOLRUNNER_TEST_POSTGRES/serve"
}

part_long() {
    part_valgrind
    CHIPS=("${MORE_CHIPS[@]}")
    part_targets
    part_bare_targets
    check_panics thumbv7m-none-eabi
    python3 tests/c.py small
    SIMULATOR_SCHEDULES=1000000 cargo test --profile soak -p toolrunner-serve --lib simulator
    FUZZ_SECONDS=300 part_fuzz
    # Ten times as many conversations as in `soak`, with seeds that differ from all of its seeds.
    SOAK_FIRST=1000001 SOAK=200000 part_soak
    STORE_KILLS=200 part_stores
    STORE_KILLS=200 part_dynamodb
    SERVER_KILLS=300 part_kills
}

# Checks the C interface: the header, the library, and programs in C, in Python and on a Cortex-M in QEMU that use it. See core/c/README.md.
part_c() {
    debug_programs scripted_server
    export SCRIPTED_SERVER=$PWD/target/debug/scripted_server
    python3 tests/c.py header library desktop python firmware
    python3 tests/valgrind.py c
}

# Checks the C interface as a WebAssembly module: its size, and its JavaScript package in Node.js and in headless Chromium.
part_wasm() {
    debug_programs scripted_server
    SCRIPTED_SERVER=$PWD/target/debug/scripted_server python3 tests/c.py module node browser
}

# Checks the dependency trees of core and toolrunner-std, and that each package and each feature of toolrunner-std builds by itself: in
# other parts, a feature that a package forgets may be enabled by another package.
part_deps() {
    python3 tests/deps.py
    local package feature
    for package in c blocking mcp vertex serve embedded-tls; do
        check_alone -p "toolrunner-$package"
    done
    for feature in "" http2 proxy ring aws-lc-rs webpki-roots logging otel computer browser testing; do
        check_alone -p toolrunner-std --no-default-features --features "$feature"
    done
}

# Runs `cargo check` with these arguments. Treats a warning as a failure without other compiler flags, which would rebuild everything.
check_alone() {
    local printed
    echo "cargo check $*"
    printed=$(cargo check -q "$@" 2>&1) && [ -z "$printed" ] || { echo "$printed" && return 1; }
}

# Debian's toolchain includes the sources of core, so no rustup target is needed. Its build results are kept apart from rustup's.
chip_cargo() {
    env -u RUSTUP_TOOLCHAIN -u CARGO -u RUSTFLAGS RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo "$@"
}

# Cortex-M without and with atomics and long multiplication, and RISC-V with both, under the names of their compilers. `firmware`,
# `no_panic` and `boards` build for some of the others.
CHIPS=(thumbv6m-none-eabi thumbv7em-none-eabihf riscv32imac-unknown-none-elf)
# What `long` adds.
MORE_CHIPS=(thumbv7em-none-eabi thumbv8m.main-none-eabi riscv32imc-unknown-none-elf)

part_targets() {
    local target
    # Every feature except those that need a heap; then those.
    for target in "${CHIPS[@]}"; do
        echo "# $target"
        chip_cargo check -q -p toolrunner-core -p toolrunner-c -p toolrunner-embassy --features \
            toolrunner-core/macros,toolrunner-core/defmt,toolrunner-core/serde-json-core,toolrunner-embassy/defmt,toolrunner-embassy/embassy-net,toolrunner-embassy/flash,toolrunner-embassy/reqwless \
            --target "$target" --target-dir target/chips -Z build-std=core
        # A heap is shared by reference counts, for which a target needs atomics.
        case $target in
        thumbv6m-* | riscv32imc-*) continue ;;
        esac
        chip_cargo check -q -p toolrunner-core --features macros,defmt,serde-json --target "$target" --target-dir target/chips \
            -Z build-std=core,alloc
    done
}

# Builds, not just checks, without any feature, for targets without atomics or long multiplication.
part_bare_targets() {
    local target
    for target in thumbv6m-none-eabi riscv32imc-unknown-none-elf; do
        echo "# $target, without features"
        chip_cargo build -q --release -p toolrunner-core -p toolrunner-embassy --no-default-features --target "$target" \
            --target-dir target/chips -Z build-std=core
    done
}

# Panics that an async driver contains for a future that is polled again after its end.
ASYNC_PANICS=(core::panicking::panic_fmt core::panicking::panic_const::panic_const_async_fn_resumed)

# Checks that the machine links, which it only does if no panic is reachable; that the async driver has only the panics above; and that
# neither is recursive. See tests/no-panic.
part_no_panic() {
    check_panics thumbv7em-none-eabi
    python3 tests/no-panic/extras.py
}

check_panics() {
    local target
    for target in "$@"; do
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

# Installs the programs that `c` and `firmware` need.
part_tools() {
    python3 tests/c.py install
    install_defmt_print
}

install_defmt_print() {
    [ -x target/tools/bin/defmt-print ] || cargo install -q --debug --locked --root target/tools defmt-print@1.2.0
}

# Runs the images for the emulated boards in QEMU. See examples/firmware.
part_firmware() {
    install_defmt_print
    debug_programs firmware
    target/debug/firmware
}

# Runs the program for embedded Linux, and builds or type-checks the programs for real boards: see examples/boards. Their settings are
# placeholders, and the Wi-Fi chip's firmware is empty, because its licence keeps it out of this repository.
part_boards() {
    debug_programs scripted_server
    (cd examples/boards/linux && cargo build -q --locked --target-dir ../../../target/boards)
    python3 examples/boards/linux/run.py target/boards/debug/toolrunner-linux target/debug/scripted_server
    export ANTHROPIC_API_KEY=none WIFI_SSID=none WIFI_PASSWORD=none-none CYW43_FIRMWARE=$PWD/target/boards/cyw43-firmware
    # A build without the firmware must fail, and say where it comes from.
    rm -rf "$CYW43_FIRMWARE"
    if board "build --release" pico2w thumbv8m.main-none-eabihf core 2>target/boards/missing.txt; then
        echo "pico2w was built without the firmware of its Wi-Fi chip" && return 1
    fi
    grep -q "43439A0.bin is missing.*Download .* from the folder cyw43-firmware" target/boards/missing.txt || { cat target/boards/missing.txt && return 1; }
    mkdir -p "$CYW43_FIRMWARE"
    touch "$CYW43_FIRMWARE"/{43439A0.bin,43439A0_clm.bin,nvram_rp2040.bin}
    board "build --release" pico2w thumbv8m.main-none-eabihf core
    board check stm32h7 thumbv7em-none-eabihf core
    board check esp32c3 riscv32imc-unknown-none-elf core,alloc
}

# Runs a command of cargo on the program of a board, for a target with these crates of the standard library. rustup has its own linker;
# Debian's is named here.
board() {
    local linker
    linker=CARGO_TARGET_$(tr 'a-z.-' 'A-Z__' <<<"$3")_LINKER
    echo "# $1 $2"
    (cd "examples/boards/$2" && export "$linker=/usr/bin/ld.lld" &&
        chip_cargo $1 -q --locked --target "$3" --target-dir ../../../target/chips -Z build-std="$4")
}

# Compares the cost of each stage of a firmware with examples/firmware/sizes.txt.
part_sizes() {
    debug_programs sizes
    target/debug/sizes
}

# ---- The runner ----

has_package() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs the packages that the given parts need, if possible.
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

# Prints what a part lacks; nothing if it can run.
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
    unit | soak | faults | conformance | fuzz | tools) command -v cc >/dev/null || missing+=("a C compiler") ;;
    *)
        # These packages have other names on other systems, and these parts refer to programs by Debian's paths.
        for package in $(packages "$1"); do
            has_package "$package" || missing+=("Debian's $package")
        done
        ;;
    esac
    local IFS=,
    echo "${missing[*]}"
}

# Runs these parts in the background. Each leaves its result and its seconds in a file.
run_beside() {
    local part start reason
    for part in "$@"; do
        start=$SECONDS reason=ok
        nice -n 19 bash "$0" --run "$part" </dev/null >"target/ci/$part.log" 2>&1 || reason=FAILED
        echo "$reason $((SECONDS - start))" >"target/ci/$part.result"
    done
}

main() {
    local part start reason log seconds table="" failed=() skipped=() names=("$@")
    local i other beside=() background
    [ ${#names[@]} -gt 0 ] || names=("${PARTS[@]}")
    for part in "${names[@]}"; do
        if ! packages "$part" >/dev/null; then
            echo "no part is called $part; there are: ${PARTS[*]}" >&2
            exit 2
        fi
    done
    mkdir -p target/ci
    rm -f target/ci/*.{log,result}
    install "${names[@]}"
    for i in "${!names[@]}"; do
        part=${names[i]}
        if [ "$part" = serve ]; then
            for other in "${BESIDE[@]}"; do
                if [[ " ${names[*]:i} " = *" $other "* && -z "$(lacks "$other")" ]]; then
                    beside+=("$other")
                fi
            done
        fi
        if [ "$part" = serve ] && [ ${#beside[@]} -gt 0 ]; then
            setsid bash "$0" --beside "${beside[@]}" &
            background=$!
            trap "kill -- -$background 2>/dev/null || true" EXIT
        fi
        reason=$(lacks "$part")
        if [ -n "$reason" ]; then
            echo "== $part: skipped, it lacks $reason"
            skipped+=("$part")
            table+=$(printf '%-12s skipped: lacks %s' "$part" "$reason")$'\n'
            continue
        fi
        echo "== $part"
        start=$SECONDS log=target/ci/$part.log
        if [[ " ${beside[*]} " = *" $part "* ]]; then
            wait "$background" || true
            cat "$log"
            read -r reason seconds <"target/ci/$part.result"
        else
            reason=ok
            bash "$0" --run "$part" </dev/null 2>&1 | tee "$log" || reason=FAILED
            seconds=$((SECONDS - start))
        fi
        [ "$reason" = ok ] || failed+=("$part")
        table+=$(printf '%-12s %4d s  %s' "$part" "$seconds" "$reason")$'\n'
    done
    echo "== times"
    printf '%s' "$table"
    # Adds up the tests and scenarios as their programs counted them, and the parts themselves.
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
--beside) run_beside "${@:2}" ;;
*) main "$@" ;;
esac

#!/bin/sh
# Runs each fuzzer for FUZZ_SECONDS (60) and ends with a table: run.sh [NAME]…
#
# cargo-fuzz wants the compiler's unstable sanitizers, which RUSTC_BOOTSTRAP lets the stable one
# have. What a fuzzer finds worth keeping grows in target/fuzz/corpus; test/fuzz/corpus stays small.
set -eu
cd "$(dirname "$0")/../.."

seconds=${FUZZ_SECONDS:-60}
work=${CARGO_TARGET_DIR:-target}/fuzz
names=${*:-$(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' test/fuzz/Cargo.toml)}
export RUSTC_BOOTSTRAP=1
# To symbolize a backtrace under a sanitizer takes longer than an input may.
export RUST_BACKTRACE=0

fuzz() {
    verb=$1
    shift
    cargo fuzz "$verb" --fuzz-dir test/fuzz --target-dir "$work/build" "$@"
}

command -v c++ >/dev/null || { echo "a C++ compiler is missing: apt-get install g++" >&2; exit 1; }
mkdir -p "$work"
fuzz build
table=$work/table
printf '%-10s %12s %8s %10s  %s\n' fuzzer executions seconds inputs result >"$table"
failed=0
for name in $names; do
    echo "== $name, $seconds s"
    mkdir -p "$work/corpus/$name"
    result=held
    words=
    [ -e "test/fuzz/$name.dict" ] && words="-dict=test/fuzz/$name.dict"
    fuzz run "$name" "$work/corpus/$name" "test/fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=60 -rss_limit_mb=1024 \
        -print_final_stats=1 $words >"$work/$name.log" 2>&1 &
    fuzzer=$!
    trap 'kill $fuzzer 2>/dev/null; exit 130' INT TERM
    while kill -0 "$fuzzer" 2>/dev/null; do
        sleep 5
        grep -a '^#[0-9]' "$work/$name.log" | tail -n 1 || true
    done
    wait "$fuzzer" || { result="BROKEN, see $work/$name.log"; failed=1; }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
    took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$work/$name.log")
    kept=$(find "$work/corpus/$name" -type f | wc -l)
    printf '%-10s %12s %8s %10s  %s\n' "$name" "${runs:-?}" "${took:-?}" "$kept" "$result" >>"$table"
done
cat "$table"
exit $failed

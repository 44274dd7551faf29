#!/usr/bin/env bash
# The suites that are too long for CI. They print a table, a line for each round.
#
#   tests/long.sh NAME [ROUNDS]
#
#   kill-joiner   the joiner is killed three times in the middle of 1 GiB, and goes on
#   kill-get      the same for `tandem get`
#   cuts          1 GiB through a proxy that cuts twenty times
#   host-gone     the host is killed and comes back
#   storm         a file is replaced over and over while it is read
#   tree          10,000 files with odd names
#   git           a repository of 2,000 commits, cloned here and worked on there, five times over
#   kills         200 times `kill -9` of either side while both write (once; a table of its own)
#   races         1,000 races of a program in the folder and one on a mount (likewise)
#   costs         what changes cost on the wire, of 100,000 files and 10,000 lines (likewise)
#   boundaries    power loss at every boundary between two actions of ROUNDS writing runs of the
#                 simulator, of each peer (a table of its own)
#   torn          counts reads of a chunk that show two versions (once; a table of its own)
#   fuzz          every fuzz target from a new seed, for ROUNDS minutes each (a table of its own)
#   all           all of them but those with a table of their own
#
# A round is a run of the end-to-end test of that name in its large form; its output is kept
# when it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A test_of=(
    [kill-joiner]=resume::a_killed_joiner_goes_on_where_it_was
    [kill-get]=resume::a_killed_get_goes_on_where_it_was
    [cuts]=resume::twenty_cuts_do_not_show
    [host-gone]=host_gone::
    [storm]=changes::a_storm_of_replacements
    [tree]=tree::
    [git]=git::
)
if [ "${1:-}" = torn ]; then
    cargo test --quiet --release -p tandem-io --test e2e -- \
        --ignored --nocapture torn:: | grep '^|\|^test result'
    exit
fi
if [ "${1:-}" = kills ] || [ "${1:-}" = costs ] || [ "${1:-}" = races ]; then
    TANDEM_E2E_LARGE=1 cargo test --quiet --release -p tandem-io --test e2e -- \
        --nocapture --test-threads 1 "$1::" 2> >(grep -v "^dice seed" >&2) |
        grep -o '| .*\|^test result.*'
    exit
fi
name=${1:-}
rounds=${2:-3}
if [ "$name" = boundaries ]; then
    exec cargo run --quiet --release -p tandem-sim -- boundaries --writing --count "${2:-10}"
fi
if [ "$name" = fuzz ]; then
    nightly=$(rustup toolchain list | sed -n 's/^\(nightly[^ ]*\).*/\1/p' | head -n 1)
    logs=$(mktemp -d)
    failed=0
    printf '| %-16s | inputs   | result | log |\n|---|---|---|---|\n' target
    for target in $(cargo "+$nightly" fuzz list --fuzz-dir fuzz/fuzz_targets); do
        log=$logs/$target
        mkdir -p "$logs/found/$target"
        if cargo "+$nightly" fuzz run --fuzz-dir fuzz/fuzz_targets -s none "$target" \
            "$logs/found/$target" "fuzz/corpus/$target" -- \
            -max_total_time="$((60 * rounds))" -max_len=4096 >"$log" 2>&1; then
            result=ok
        else
            result=FAILED
            failed=1
        fi
        inputs=$(grep -E '^(Done |#[0-9])' "$log" | tail -n 1 | grep -oE '[0-9]+' | head -n 1)
        [ "$result" = FAILED ] || log=
        printf '| %-16s | %8d | %-6s | %s |\n' "$target" "${inputs:-0}" "$result" "$log"
    done
    exit "$failed"
fi
if [ "$name" = all ]; then
    names=(kill-joiner kill-get cuts host-gone storm tree git)
elif [ -n "$name" ] && [ -n "${test_of[$name]:-}" ]; then
    names=("$name")
else
    sed -n '2,/^# A round/{/^# A round/d;s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi

cargo test --quiet --release -p tandem-io --test e2e --no-run
logs=$(mktemp -d)
failed=0
printf '| %-11s | round | result | seconds | log |\n|---|---|---|---|---|\n' suite
for name in "${names[@]}"; do
    for round in $(seq "$rounds"); do
        log=$logs/$name-$round
        begun=$(date +%s.%N)
        if TANDEM_E2E_LARGE=1 timeout --kill-after=10 1800 cargo test --quiet --release \
            -p tandem-io --test e2e -- "${test_of[$name]}" >"$log" 2>&1 &&
            grep -q '^test result: ok. [1-9]' "$log"; then
            result=ok
            rm "$log"
            log=
        else
            result=FAILED
            failed=1
        fi
        seconds=$(awk -v begun="$begun" -v ended="$(date +%s.%N)" \
            'BEGIN { printf "%.1f", ended - begun }')
        printf '| %-11s | %5d | %-6s | %7s | %s |\n' "$name" "$round" "$result" "$seconds" "$log"
    done
done
exit "$failed"

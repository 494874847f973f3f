#!/bin/bash
# `make test`: everything, and one closing line "N passed, N failed" over all of it.
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# Run one step; add up its own closing line, or count it as one test.
step() {
	local name=$1 begun=$SECONDS; shift
	echo "== $name"
	"$@" 2>&1 | tee "$log"
	local code=${PIPESTATUS[0]} p=0 f=0 line
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
	if [ -n "$line" ]; then
		p=$(grep -oE '^[0-9]+' <<<"$line"); f=$(grep -oE '[0-9]+ failed' <<<"$line" | grep -oE '[0-9]+')
	elif [ "$code" = 0 ]; then
		p=1
	fi
	[ "$code" != 0 ] && [ "$f" = 0 ] && f=1
	passed=$((passed + p)) failed=$((failed + f))
	echo "   ($((SECONDS - begun)) s)"
}

make="make --no-print-directory WERROR=1"
jobs=$(nproc)
step "build" $make -j"$jobs" e2e-tools
step "lint" $make -j"$jobs" lint
for mode in release asan tsan; do
	step "unit tests, $mode" $make -j"$jobs" MODE=$mode unit
	step "fuzz corpora, $mode" $make -j"$jobs" MODE=$mode replay
done
export TSAN_OPTIONS="suppressions=$(pwd)/tests/tsan.supp history_size=7 ${TSAN_OPTIONS:-}"
for mode in asan tsan; do
	step "build, $mode" $make -j"$jobs" MODE=$mode e2e-tools
done
step "end to end, release" python3 tests/e2e/run.py --heptap build/release/heptap --jobs 6
step "end to end, asan" python3 tests/e2e/run.py --heptap build/asan/heptap --sanitized --jobs 5
step "end to end, tsan" python3 tests/e2e/run.py --heptap build/tsan/heptap --sanitized
echo "== all ($SECONDS s)"
echo "$passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/sh
# Run unit test programs, as many at a time as there are cores; each says how many checks held. Ends with "N passed, N failed".
passed=0 failed=0
here=$(pwd)
export TSAN_OPTIONS="suppressions=$here/tests/tsan.supp history_size=7 ${TSAN_OPTIONS:-}"
export ASAN_OPTIONS="detect_stack_use_after_return=1 ${ASAN_OPTIONS:-}"
case "$1" in build/asan/*|build/tsan/*) export CK_FORK=no ;; esac
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
printf '%s\n' "$@" | said=$said xargs -P "$(nproc)" -I{} sh -c 'name=$(basename {}); {} >"$said/$name" 2>&1; echo $? >"$said/$name.code"'
for t in "$@"; do
	out=$(cat "$said/$(basename "$t")"); code=$(cat "$said/$(basename "$t").code")
	line=$(printf '%s\n' "$out" | grep '^[0-9]*%: Checks' | tail -n 1)
	n=$(printf '%s' "$line" | sed -n 's/.*Checks: \([0-9]*\),.*/\1/p')
	if [ "$code" = 0 ] && [ "${n:-0}" -gt 0 ]; then
		echo "  ok    ${t#build/}  ($n checks)"
		printf '%s\n' "$out" | grep '^skipped:' | sed 's/^/        /'
		passed=$((passed + n))
	else
		echo "  FAIL  ${t#build/}  (exit code $code)"
		printf '%s\n' "$out" | tail -n 60
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]

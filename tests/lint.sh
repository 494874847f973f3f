#!/bin/bash
# What a compiler does not say: folders include downwards only, third-party headers stay behind their one file, manuals are well-formed,
# every exported metric is in the README, no line of ours is far too long.
fail=0
bad() { echo "lint: $*"; fail=1; }

# folder: the folders of ours that it may include
declare -A may=([conf]="conf" [hep]="hep conf" [storage]="storage conf hep" [tune]="tune conf" [web-sql]="web-sql conf hep storage"
	[capture]="capture hep storage tune web-sql conf")
for folder in "${!may[@]}"; do
	while IFS=: read -r file line text; do
		to=$(sed 's/.*"\([^/"]*\)\/.*/\1/' <<<"$text")
		[[ " ${may[$folder]} " == *" $to "* ]] || bad "$file:$line: $folder may not include $to"
	done < <(grep -n '^#include "' "$folder"/*.[ch])
done

# header: the files that may include it
only() {
	local header=$1; shift
	while read -r file; do
		[[ " $* " == *" $file "* ]] || bad "$file: <$header> belongs behind $*"
	done < <(grep -l "^#include <$header" ./*/*.[ch] | sed 's|^\./||')
}
only mysql.h storage/db.c
only yaml.h conf/tree.c
only urcu conf/rcu.h
only pcap/pcap.h conf/expression.c capture/bpf.c capture/pcap_live.c
only linux/if_packet.h capture/af_packet.c capture/interface.c
only zlib.h hep/inflate.c
only pcre2.h conf/filter_regex.c
only jansson.h web-sql/api.c web-sql/control.c web-sql/events.c capture/tune_json.c
only cap-ng.h capture/server.c capture/keeper.c
only event2/http.h web-sql/http.c web-sql/subscribers.c

# Files of the host are opened behind tune/files.c, so that --root and its faults hold for all of them; the journal is ours.
while IFS= read -r line; do bad "$line: files of the host belong behind tune/files.h"; done < <(grep -nE \
	'(^|[^_a-z])(open|openat|fopen|opendir|readlink|access|stat|lstat|scandir|glob)\(' tune/*.[ch] | grep -vE '^tune/(files|journal)\.c:' | cut -d: -f1,2)

for page in conf/man/*; do
	out=$(groff -ww -man -Tutf8 "$page" 2>&1 >/dev/null) && [ -z "$out" ] || bad "$page: $out"
done
for metric in $(grep -oh '"heptap_[a-z_]*' web-sql/*.c tune/watch*.[ch] conf/counters.h | tr -d '"' | sed 's/_\(bucket\|sum\|count\)$//' | sort -u); do
	grep -q "$metric" README.md || bad "README.md does not say what $metric counts"
done
while IFS= read -r long; do bad "$long"; done < <(awk 'length($0) > 110 { print FILENAME ":" FNR ": line of " length($0) " characters" }' \
	capture/*.[ch] hep/*.[ch] storage/*.[ch] tune/*.[ch] web-sql/*.[ch] conf/*.[ch])
bash -n conf/run.sh && bash -n conf/sample/send.sh || fail=1
python3 -m compileall -q tests/e2e tests/bench >/dev/null || bad "a Python file does not compile"
rm -rf tests/e2e/__pycache__ tests/bench/__pycache__
[ $fail = 0 ] && echo "  ok    lint"
exit $fail

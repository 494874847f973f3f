#!/bin/bash
# `make run`: a private MariaDB in run/db, the schema, heptap on 127.0.0.1. No system service is touched; what is started here is stopped here.
# A second start, also after a kill -9, first ends what an earlier one left behind.
set -u
heptap=$(realpath "$1")
run=$(pwd)/run
db=$run/db
socket=$db/mysqld.sock
# A unix socket's path has at most 107 octets.
[ ${#socket} -gt 100 ] && socket=${TMPDIR:-/tmp}/heptap-$(printf %s "$run" | cksum | cut -d' ' -f1).sock
db_pid= heptap_pid=

say() { printf '%s\n' "$*"; }
die() { say "make run: $*" >&2; exit 3; }

# End a process named in a pid file, if it is really ours: its command line names our folder.
end_left_behind() {
	local pid
	pid=$(cat "$1" 2>/dev/null) || return 0
	if [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$run"; then
		say "ending process $pid that an earlier run left behind"
		kill "$pid" 2>/dev/null
		for _ in $(seq 300); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
	fi
	rm -f "$1"
}

stop() {
	trap '' INT TERM
	[ -n "$heptap_pid" ] && kill "$heptap_pid" 2>/dev/null && wait "$heptap_pid" 2>/dev/null
	[ -n "$db_pid" ] && kill "$db_pid" 2>/dev/null && wait "$db_pid" 2>/dev/null
	rm -f "$run/heptap.pid" "$db/mysqld.pid"
}

db_start() {
	mkdir -p "$db/tmp"	# of its own: a server that starts removes the temporary tables that it finds
	if [ ! -d "$db/data/mysql" ]; then
		say "making the database in run/db ..."
		rm -rf "$db/data"
		mariadb-install-db --no-defaults --datadir="$db/data" --user="$(id -un)" --auth-root-authentication-method=normal \
			--skip-test-db --skip-name-resolve --force >"$db/install.log" 2>&1 || die "the database could not be made; see run/db/install.log"
	fi
	setsid mariadbd --no-defaults --user="$(id -un)" --datadir="$db/data" --socket="$socket" --pid-file="$db/mysqld.pid" --tmpdir="$db/tmp" \
		--skip-networking --innodb-buffer-pool-size=256M >"$db/mariadbd.log" 2>&1 &
	db_pid=$!
	for _ in $(seq 600); do
		mariadb --no-defaults --socket="$socket" -u root -e 'DO 1' >/dev/null 2>&1 && return
		kill -0 "$db_pid" 2>/dev/null || break
		sleep 0.1
	done
	die "the database did not start; see run/db/mariadbd.log"
}

conf_write() {
	cat >"$run/heptap.yaml" <<END
# Written by \`make run\`; conf/heptap.yaml explains every key.
node: demo
user: ''
hep:
  - name: agents
    listen: ['udp:127.0.0.1:9060', 'tcp:127.0.0.1:9060']
storage:
  socket: $socket
  user: root
  database: homer_db
  spool: { dir: $run/spool, max: 1G }
http: { listen: '127.0.0.1:9080' }
END
}

next_steps() {
	cat <<END

heptap takes HEP on 127.0.0.1:9060 (UDP and TCP); numbers are on http://127.0.0.1:9080/metrics and /api/status.
Ctrl-C ends it and its database.

  send a sample call        conf/sample/send.sh 127.0.0.1 9060
  look at the rows          mariadb --no-defaults -S $socket -u root homer_db \\
                              -e 'SELECT date, method, cseq, callid, source_ip, destination_ip FROM sip_capture'
  look at the numbers       curl -s http://127.0.0.1:9080/api/status

  OpenSIPS 3                loadmodule "proto_hep.so"
                            modparam("proto_hep", "hep_id", "[heptap] 127.0.0.1:9060; transport=udp; version=3")
                            loadmodule "tracer.so"
                            modparam("tracer", "trace_id", "[tid] uri=hep:heptap")     # then trace("tid", "d") in the route
  Kamailio                  loadmodule "siptrace.so"
                            modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:9060")   # or ...;transport=tcp
                            modparam("siptrace", "hep_mode_on", 1)
                            modparam("siptrace", "hep_version", 3)
                            modparam("siptrace", "trace_to_database", 0)
                            modparam("siptrace", "trace_on", 1)                        # then sip_trace(); in the route
  rtpengine                 rtpengine --homer=127.0.0.1:9060 --homer-protocol=udp --homer-id=2001 ...
                            (its RTCP goes to rtcp_capture)

END
}

mkdir -p "$db" "$run/spool" || die "cannot write to $run"
end_left_behind "$run/heptap.pid"
end_left_behind "$db/mysqld.pid"
trap 'stop; exit 0' INT TERM
trap stop EXIT
db_start
conf_write
"$heptap" schema install -c "$run/heptap.yaml" || die "the tables could not be made"
setsid "$heptap" -c "$run/heptap.yaml" &
heptap_pid=$!
echo "$heptap_pid" >"$run/heptap.pid"
for _ in $(seq 100); do
	(exec 3<>/dev/tcp/127.0.0.1/9080) 2>/dev/null && break
	kill -0 "$heptap_pid" 2>/dev/null || { wait "$heptap_pid"; heptap_pid=; die "heptap did not start; its reason is above"; }
	sleep 0.1
done
next_steps
if [ "${DEMO:-}" = 1 ]; then
	conf/sample/send.sh 127.0.0.1 9060
	for _ in $(seq 50); do
		n=$(mariadb --no-defaults -S "$socket" -u root homer_db -Ne 'SELECT COUNT(*) FROM sip_capture' 2>/dev/null)
		[ "${n:-0}" -gt 0 ] && break
		sleep 0.1
	done
	mariadb --no-defaults -S "$socket" -u root homer_db -t \
		-e 'SELECT date, method, reply_reason, cseq, callid, source_ip, destination_ip FROM sip_capture ORDER BY id DESC LIMIT 20'
fi
wait "$heptap_pid"
code=$?
heptap_pid=
exit $code

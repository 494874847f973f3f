# heptap: SIP from HEP agents into Homer's MySQL tables.
#
#   make run          install what is missing, build, start a private MariaDB and heptap on 127.0.0.1; Ctrl-C ends it
#   make run DEMO=1   the same, and send a sample so that rows appear at once
#   make test         install what is missing and run everything: lint, unit, fuzz corpora, sanitizers, end to end
#   make unit         unit tests only; T=sip selects tests by name; SOAK=1 for many more random rounds
#   make e2e          end-to-end tests against a real MariaDB; T=kill selects
#   make asan tsan    unit tests and fuzz corpora under AddressSanitizer with UBSan, under ThreadSanitizer
#   make fuzz         let the fuzzers look for something new, FUZZ_S seconds each (60)
#   make bench        ratios against references of the same minute
#   make bench-long   cost of a row at 20 million against 1 million; against Kamailio's sipcapture: highest rate without loss, CPU per row
#   make soak         long rounds: random faults, five million messages, a hundred thousand connections
#   make lint format  headers compile alone, folders include downwards only; clang-format
#   make install      DESTDIR and PREFIX are honoured
#   make deps         install what is missing through apt
#   make clean help
#
# CFLAGS, CPPFLAGS and LDFLAGS are yours; WERROR=1 turns warnings into errors; V=1 shows commands; MODE=release|asan|tsan|fuzz.

MODE    ?= release
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
B       := build/$(MODE)
Q       := $(if $(V),,@)
FUZZ_S  ?= 60

FLAGS   := -std=gnu11 -D_GNU_SOURCE -I. -pthread -fno-strict-aliasing -Wall -Wextra -Wshadow -Wstrict-prototypes \
           -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(WERROR),-Werror)
LINK    := -Wl,-z,now -Wl,-z,relro
ifeq ($(MODE),asan)
FLAGS   += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifeq ($(MODE),tsan)
FLAGS   += -fsanitize=thread -fno-omit-frame-pointer
endif
ifeq ($(MODE),fuzz)
CC      := clang
FLAGS   += -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
endif

DEPS_BUILD := gcc make pkg-config libc6-dev libevent-dev liburcu-dev libyaml-dev libjansson-dev libxxhash-dev libcap-ng-dev \
              libsystemd-dev libmariadb-dev zlib1g-dev libpcap-dev libpcre2-dev
DEPS_RUN   := mariadb-server-core mariadb-client-core python3
DEPS_TEST  := check iproute2 nftables clang libclang-rt-14-dev groff-base curl procps kamailio sip-tester rtpengine-daemon tshark tcpdump tcpreplay faketime

DEPS_BENCH := kamailio kamailio-mysql-modules

PKGS    := libevent liburcu yaml-0.1 jansson libxxhash libcap-ng libsystemd libmariadb zlib libpcap libpcre2-8
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
LIBS     = -levent -lurcu-cds -lurcu-memb -lyaml -ljansson -lcap-ng -lsystemd $(shell pkg-config --libs libmariadb) -lz -lpcap -lpcre2-8

SRC     := $(filter-out capture/main.c,$(wildcard capture/*.c hep/*.c storage/*.c tune/*.c web-sql/*.c conf/*.c))
OBJ     := $(SRC:%.c=$(B)/%.o)
HEADERS := $(wildcard capture/*.h hep/*.h storage/*.h tune/*.h web-sql/*.h conf/*.h)
T       ?=
UNIT    := $(foreach t,$(wildcard tests/unit/test_*.c),$(if $(T),$(if $(findstring $(T),$(t)),$(t:%.c=$(B)/%)),$(t:%.c=$(B)/%)))
# Of one thread, so that ThreadSanitizer has nothing to look at; T=name runs them all the same.
ALONE   := apply block bpf conf crash_classes cursor decode decode_corpus ethtool export facts filter_random filter_regex frame hep_codec hep_legacy \
	   host_plan inflate journal json knobs node packets pcap_file placement plan round_trip rtcp rtcp_packets sctp sdp sip sip_stream \
	   spool_model stream tcp trim websocket
ifeq ($(MODE)$(T),tsan)
UNIT    := $(filter-out $(ALONE:%=$(B)/tests/unit/test_%),$(UNIT))
endif
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))

.PHONY: all run test check unit e2e e2e-tools asan tsan replay fuzz bench bench-long soak lint format install clean help deps FORCE
.DEFAULT_GOAL := all
.SECONDARY:
all: $(B)/heptap

$(B)/flags: FORCE	# changed flags rebuild; unchanged flags touch nothing
	@mkdir -p $(@D); echo '$(CC) $(FLAGS) $(CFLAGS) $(CPPFLAGS)' | cmp -s - $@ || echo '$(CC) $(FLAGS) $(CFLAGS) $(CPPFLAGS)' > $@
$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D); echo "  CC    $<"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(CPPFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/storage/schema.o: $(wildcard web-sql/*.sql)
$(B)/heptap: $(B)/capture/main.o $(OBJ)
	@echo "  LINK  $@"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(OBJ)
	@echo "  LINK  $@"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(LINK_TEST) -o $@ $^ -lcheck -lsubunit -lm -lrt $(LIBS)
# Its system calls go to a disk in memory.
DISK_WRAP := open openat __openat_2 close pwrite pread __pread_chk ftruncate fallocate fstat fdatasync fsync unlinkat linkat renameat mkdir \
             chown fchown flock memfd_create scandirat fdopendir readdir closedir faccessat getrandom clock_gettime syslog \
             __syslog_chk
$(B)/tests/unit/test_spool_model: $(B)/tests/unit/disk.o
$(B)/tests/unit/test_spool_model: LINK_TEST := $(DISK_WRAP:%=-Wl,--wrap=%)
# The kernel's memory for rings ends when the test wants it to.
$(B)/tests/unit/test_af_packet: LINK_TEST := -Wl,--wrap=setsockopt
$(B)/tests/bench/%: $(B)/tests/bench/%.o $(OBJ)
	@echo "  LINK  $@"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/tests/e2e/%: $(B)/tests/e2e/%.o $(OBJ)
	@echo "  LINK  $@"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(OBJ)
	@echo "  LINK  $@"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
build/fuzz/tests/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o $(OBJ:$(B)/%=build/fuzz/%)
	@echo "  LINK  $@"
	$(Q)$(CC) $(FLAGS) -fsanitize=fuzzer $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

deps:
	@tests/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST)

run:
	@tests/deps.sh $(DEPS_BUILD) $(DEPS_RUN)
	@$(MAKE) --no-print-directory all
	@DEMO=$(DEMO) conf/run.sh $(B)/heptap

unit: $(UNIT)
	@$(if $(SOAK),SOAK=1) tests/run-unit.sh $(UNIT)
replay: $(FUZZERS:%=$(B)/tests/fuzz/replay_%)
	@for f in $(FUZZERS); do $(B)/tests/fuzz/replay_$$f tests/fuzz/corpus/$$f || exit 1; done
asan tsan:
	@$(MAKE) --no-print-directory MODE=$@ unit replay
e2e-tools: all $(B)/tests/e2e/route_rows	# what the tests run beside the binary
e2e: e2e-tools
	@python3 tests/e2e/run.py --heptap $(B)/heptap $(if $(T),--only $(T))

test check:
	@tests/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST)
	@WERROR=1 tests/run-all.sh

fuzz:
	@$(MAKE) --no-print-directory MODE=fuzz $(FUZZERS:%=build/fuzz/tests/fuzz/fuzz_%)
	@for f in $(FUZZERS); do mkdir -p build/fuzz/found/$$f; \
	  build/fuzz/tests/fuzz/fuzz_$$f -max_total_time=$(FUZZ_S) -artifact_prefix=build/fuzz/found/$$f- \
	  build/fuzz/found/$$f tests/fuzz/corpus/$$f || exit 1; done
bench: all $(BENCHES)
	@python3 tests/bench/bench.py --build $(B)
	@python3 tests/bench/storage.py --build $(B)
	@python3 tests/bench/mirror.py --build $(B)
	@python3 tests/bench/peer.py --build $(B) --brief
bench-long:
	@tests/deps.sh $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_BENCH)
	@$(MAKE) --no-print-directory all $(BENCHES)
	@python3 tests/bench/storage.py --build $(B) --long
	@python3 tests/bench/peer.py --build $(B) $(if $(QUICK),--quick) $(if $(V),--verbose)
soak: all $(B)/tests/bench/bench_backlog
	@$(MAKE) --no-print-directory unit T=spool_model SOAK=1
	@python3 tests/e2e/run.py --heptap $(B)/heptap --soak

$(B)/%.h.ok: %.h FORCE	# part of lint: each header compiles alone
	@mkdir -p $(@D); echo '#include "$<"' | $(CC) $(FLAGS) $(PKG_CFLAGS) -Wno-unused-function -fsyntax-only -xc - && touch $@
lint: $(HEADERS:%=$(B)/%.ok)
	@tests/lint.sh
format:
	clang-format -i $(SRC) capture/main.c $(HEADERS) $(wildcard tests/*/*.c tests/*/*.h)

install: all
	install -D -m 755 $(B)/heptap $(DESTDIR)$(PREFIX)/sbin/heptap
	install -D -m 644 conf/heptap.yaml $(DESTDIR)$(PREFIX)/share/doc/heptap/heptap.yaml
	install -D -m 644 conf/man/heptap.8 $(DESTDIR)$(PREFIX)/share/man/man8/heptap.8
	install -D -m 644 conf/man/heptap.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/heptap.yaml.5
	sed 's|@PREFIX@|$(PREFIX)|' conf/systemd/heptap.service > $(B)/heptap.service
	install -D -m 644 $(B)/heptap.service $(DESTDIR)$(PREFIX)/lib/systemd/system/heptap.service

clean:
	rm -rf build
help:
	@sed -n '/^[^#]*$$/q;s/^# \{0,1\}//p' Makefile
FORCE:

-include $(shell find $(B) -name '*.d' 2>/dev/null)

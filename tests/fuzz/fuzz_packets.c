/*
 * Any frames, through decoding, tables and worker: after each of them every packet is in one place
 * of the packet line and every message in one of the message line; at the end nothing is held. An
 * input is which source, then records: two octets of length, one of flags (link type, cut, time
 * that passes), the frame.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>

#include "conf/rcu.h"
#include "tests/unit/rig.h"

#define MEMORY	 (2 << 20) /* little, so that entries push one another out */
#define FIRST_US 1700000000000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig rig;

static void rig_start(void)
{
	rcu_thread_begin();
	rig_make(&rig, "capture:\n"
		       "  - { name: m, file: x, ports: [5060], hep_ports: [9060] }\n"
		       "  - { name: n, file: y, bpf: 'udp or tcp', hep_ports: [9060] }\n");
}

static void blocks_return(void)
{
	struct block *b;

	while ((b = worker_take_sealed(rig.worker)))
		worker_give_back(rig.worker, b);
}

static void check(uint64_t given, bool is_drained)
{
	struct stats_packets s;

	assert(rig_packets_missing(&rig, &s) == 0);
	assert(s.seen == given && (!is_drained || s.held == 0));
	assert(rig_messages_missing(&rig) == 0);
}

/* A copy of its exact size. */
static void frame_give(const uint8_t *data, size_t len, uint8_t flags, uint64_t ts_us)
{
	static const uint16_t links[] = { LINK_ETHERNET, LINK_RAW, LINK_LINUX_SLL,
					  LINK_LINUX_SLL2 };
	uint8_t *copy = malloc(len ? len : 1);
	struct captured c = { .bytes = { copy, (uint32_t)len },
			      .wire_len = (uint32_t)len + (flags >> 2 & 1),
			      .link = links[flags & 3],
			      .ts_us = ts_us };

	assert(copy);
	if (len)
		memcpy(copy, data, len);
	rig_frame(&rig, &c);
	free(copy);
}

static uint64_t frames_give(const uint8_t *data, size_t size)
{
	uint64_t ts_us = FIRST_US, given = 0;

	while (size >= 3) {
		size_t len = (size_t)(data[0] << 8 | data[1]);
		uint8_t flags = data[2];

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		ts_us += 1ULL << (flags >> 3); /* up to half an hour */
		frame_give(data, len, flags, ts_us);
		check(++given, false);
		blocks_return();
		data += len;
		size -= len;
	}
	return given;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t given;

	if (!rig.worker)
		rig_start();
	if (size == 0)
		return 0;
	rig_capture(&rig, data[0] & 1, MEMORY);
	given = frames_give(data + 1, size - 1);
	packets_drain(rig.packets);
	check(given, true);
	worker_flush(rig.worker);
	blocks_return();
	rig_uncapture(&rig);
	return 0;
}

/**
 * @file
 * Frames of WebSocket.
 */
#pragma once
#include <stdint.h>
#include <string.h>

enum { LAST = 0x80, COMPRESSED = 0x40 };
enum { CONTINUED = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

#define MASK "\x37\xfa\x21\x3d"

/* @return octets of the frame. A length of 1 to 125 takes one octet, up to 65535 three. */
static inline size_t frame_put(uint8_t *out, unsigned first, const char *mask, const void *payload,
			       size_t len)
{
	size_t n = 2;

	out[0] = (uint8_t)first;
	if (len < 126) {
		out[1] = (uint8_t)len;
	} else if (len <= UINT16_MAX) {
		out[1] = 126;
		out[2] = (uint8_t)(len >> 8);
		out[3] = (uint8_t)len;
		n = 4;
	} else {
		out[1] = 127;
		for (int i = 0; i < 8; i++)
			out[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
		n = 10;
	}
	if (mask) {
		out[1] |= 0x80;
		memcpy(out + n, mask, 4);
		n += 4;
	}
	for (size_t i = 0; i < len; i++)
		out[n + i] = ((const uint8_t *)payload)[i] ^ (uint8_t)(mask ? mask[i % 4] : 0);
	return n + len;
}

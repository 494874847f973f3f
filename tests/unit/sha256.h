/**
 * @file
 * SHA-256 (FIPS 180-4), by which fixtures say what a message is.
 */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static inline uint32_t sha256_turn(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* First 32 bits of the fractional part of the @p root-th root of the primes. */
static inline void sha256_constants(uint32_t *out, int count, double root)
{
	for (int n = 2, made = 0; made < count; n++) {
		int divisor = 2;

		while (n % divisor)
			divisor++;
		if (divisor == n) {
			long double value = root == 2 ? sqrtl(n) : cbrtl(n);

			out[made++] = (uint32_t)((value - floorl(value)) * 4294967296.0L);
		}
	}
}

static inline void sha256_block(uint32_t state[8], const uint32_t k[64], const uint8_t *at)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++, at += 4)
		w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + w[i - 7] + (sha256_turn(a, 7) ^ sha256_turn(a, 18) ^ a >> 3) +
		       (sha256_turn(b, 17) ^ sha256_turn(b, 19) ^ b >> 10);
	}
	memcpy(s, state, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t e = sha256_turn(s[4], 6) ^ sha256_turn(s[4], 11) ^ sha256_turn(s[4], 25);
		uint32_t a = sha256_turn(s[0], 2) ^ sha256_turn(s[0], 13) ^ sha256_turn(s[0], 22);
		uint32_t t = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];

		a += (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t;
		s[0] = t + a;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

/* As 64 hexadecimal digits. */
static inline void sha256_text(const void *bytes, size_t len, char out[65])
{
	uint8_t tail[128] = { 0 };
	uint32_t state[8], k[64];
	size_t rest = len % 64, tail_len = rest < 56 ? 64 : 128;

	sha256_constants(state, 8, 2);
	sha256_constants(k, 64, 3);
	for (size_t at = 0; at + 64 <= len; at += 64)
		sha256_block(state, k, (const uint8_t *)bytes + at);
	if (rest)
		memcpy(tail, (const uint8_t *)bytes + len - rest, rest);
	tail[rest] = 0x80;
	for (int i = 0; i < 8; i++)
		tail[tail_len - 1 - i] = (uint8_t)((uint64_t)len * 8 >> 8 * i);
	for (size_t at = 0; at < tail_len; at += 64)
		sha256_block(state, k, tail + at);
	for (int i = 0; i < 8; i++)
		snprintf(out + 8 * i, 9, "%08x", state[i]);
}

/**
 * @file
 * The text of /proc/interrupts, and what the name of an interrupt of a NIC says. Threads: pure;
 * any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define IRQ_NAME 64

struct interrupt {
	int number;
	uint64_t count;	     /* on all CPUs */
	char name[IRQ_NAME]; /* of its action; as much of it as fits */
};

/**
 * The next numbered interrupt of the text.
 *
 * @param at  Where to read on; moved behind the line. At first the begin of the text.
 *
 * @return false: there is none.
 */
bool interrupts_next(const char **at, struct interrupt *out);

enum irq_role { IRQ_CONTROL, IRQ_RX, IRQ_TX };

/**
 * @param queue  Set to the number of the queue; -1 for IRQ_CONTROL. IRQ_RX serves the sending queue
 *               of that number too, where it has no interrupt of its own.
 */
enum irq_role interrupt_role(const char *name, int *queue);

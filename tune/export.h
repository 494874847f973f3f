/**
 * @file
 * Changes as files that keep them over a restart of the host: sysctl.d, a drop-in of our unit, and
 * a .link file for each interface. Above each line stands why, and what was there before. Threads:
 * one.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tune/change.h"

/* What our unit needs; 0: leave it out. */
struct export_unit {
	const char *program; /* path of heptap */
	const char *conf;    /* path of the configuration */
	uint64_t open_files;
	uint64_t memory_high_bytes; /* printed as a comment only */
};

/** sysctl.d: unknown settings are ignored at boot. @return lines of settings. */
unsigned export_sysctl(FILE *out, const struct tune_change *changes, size_t n);

/**
 * A .link file of one interface.
 *
 * @param bus  "0000:03:00.0" of a PCI device; else it is matched by its name.
 * @return lines of settings; 0: nothing is written to @p out.
 */
unsigned export_link(FILE *out, const char *nic, const char *bus, const struct tune_change *changes,
		     size_t n);

/**
 * A drop-in for heptap.service: limits, and `heptap tune apply` before each start for what neither
 * of the other files can keep. @return lines of settings.
 */
unsigned export_unit(FILE *out, const struct export_unit *unit, const struct tune_change *changes,
		     size_t n);

/**
 * @file
 * The version, as `heptap --version` and the metrics show it.
 */
#pragma once

#define HEPTAP_VERSION "0.1.0"

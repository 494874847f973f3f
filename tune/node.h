/**
 * @file
 * Memory near a NIC: what the kernel allocates for the calling thread from here on comes from a
 * node of memory first, and from others when it is full. Threads: any; of the calling one.
 */
#pragma once

/** @param node  -1: as before. Where the kernel refuses (containers) memory comes as it comes. */
void node_prefer(int node);

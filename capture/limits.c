/* The hard limit is no number to copy: where it is the whole host's, one process could have it all.
 */
#include "capture/limits.h"

#include <inttypes.h>
#include <stddef.h>
#include <sys/resource.h>

#include "conf/conf.h"
#include "conf/log.h"
#include "tune/files.h"

#define FILES_LEAST  65536
#define FILES_WE_USE 4096 /* threads, spool, database, HTTP */

/* Each connection of an agent is one. */
static rlim_t files_needed(const struct conf *conf)
{
	rlim_t n = FILES_WE_USE;

	for (size_t i = 0; i < conf->hep_count; i++)
		for (size_t e = 0; e < conf->hep[i].listen_count; e++)
			if (conf->hep[i].listen[e].is_stream) {
				n += conf->hep[i].max_connections;
				break;
			}
	return n;
}

static void files_raise(const struct conf *conf)
{
	rlim_t need = files_needed(conf), most = need > FILES_LEAST ? need : FILES_LEAST;
	int64_t host = file_number("", "/proc/sys/fs/nr_open");
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	if (host > 0 && (rlim_t)host < most)
		most = (rlim_t)host;
	if (files.rlim_max < most &&
	    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ .rlim_cur = most, .rlim_max = most }) == 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)!setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < need)
		log_warning("%" PRIu64 " open files are allowed, the connections of the "
			    "configuration may take %" PRIu64 ": raise LimitNOFILE of the unit, or "
			    "hep[].max_connections is never reached",
			    (uint64_t)files.rlim_max, (uint64_t)need);
}

static void cores_forbid(void)
{
	struct rlimit core;

	if (getrlimit(RLIMIT_CORE, &core) < 0)
		return;
	core.rlim_cur = 0;
	(void)!setrlimit(RLIMIT_CORE, &core);
}

void limits_set(const struct conf *conf)
{
	files_raise(conf);
	cores_forbid();
}

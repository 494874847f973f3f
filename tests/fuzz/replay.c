/*
 * main() for a fuzzer without a fuzzing engine: every file of the directories given is one input,
 * in the order of their names. An input is an exact-size heap copy, so that AddressSanitizer sees a
 * byte too many.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int complain(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return -1;
}

static int run_bytes(const char *path, FILE *f, size_t size)
{
	uint8_t *data = malloc(size);

	if ((!data && size) || fread(data, 1, size, f) != size) {
		free(data);
		return complain(path);
	}
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

/* 1 if it was an input, 0 if it is no file, -1 if it cannot be read. */
static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	int ran = 0;

	if (!f)
		return complain(path);
	if (fstat(fileno(f), &st) < 0)
		ran = complain(path);
	else if (S_ISREG(st.st_mode))
		ran = run_bytes(path, f, (size_t)st.st_size);
	fclose(f);
	return ran;
}

/* How many inputs there were; -1 if there is none, or something cannot be read. */
static int run_directory(const char *dir)
{
	struct dirent **entries = NULL;
	int count = scandir(dir, &entries, NULL, alphasort), inputs = 0, ran = 0;
	char path[PATH_BYTES];

	if (count < 0)
		return complain(dir);
	for (int i = 0; i < count; i++) {
		if (ran >= 0 && entries[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
			ran = run_file(path);
			inputs += ran;
		}
		free(entries[i]);
	}
	free(entries);
	if (ran >= 0 && inputs == 0)
		fprintf(stderr, "%s: no files\n", dir);
	return ran >= 0 && inputs > 0 ? inputs : -1;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	int total = 0;

	name = name ? name + 1 : argv[0];
	if (strncmp(name, "replay_", 7) == 0)
		name += 7;
	if (argc < 2) {
		fprintf(stderr, "usage: %s DIRECTORY...\n", argv[0]);
		return EXIT_FAILURE;
	}
	for (int i = 1; i < argc; i++) {
		int inputs = run_directory(argv[i]);

		if (inputs < 0)
			return EXIT_FAILURE;
		total += inputs;
	}
	printf("%s: %d inputs\n", name, total);
	return EXIT_SUCCESS;
}

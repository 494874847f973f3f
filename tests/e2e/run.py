"""Run the end-to-end tests: functions named test_* (soak_* with --soak) of the modules beside this file, each with a World of its own.

The docstring of a function says what it shows. The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

import lib

# those with the longest tests first
MODULES = ["test_basics", "test_fitting", "test_events", "test_watch", "test_match", "test_retention", "test_schema", "test_diskfaults",
           "test_dbfaults", "test_overload", "test_faults", "test_corpus", "test_torture", "test_hostile", "test_tcp", "test_control",
           "test_mirror", "test_import", "test_rtcp", "test_tables", "test_errors", "test_live", "test_flat", "test_burst",
           "test_backlog", "test_replay", "test_memory", "test_statistics", "test_routes", "test_legs", "test_decisions", "test_tune",
           "test_tune_apply"]


# ThreadSanitizer, which is the slowest, sees nothing in these that it does not see in others: one thread, or those of every server.
NOT_FOR_TSAN = ("test_import", "test_match", "test_schema", "test_tables", "test_torture", "test_routes", "test_retention", "test_errors",
                "test_replay", "test_tune", "test_tune_apply", "test_fitting")


def tests(prefix):
    for name in MODULES:
        module = importlib.import_module(name)
        for key, function in vars(module).items():
            if key.startswith(prefix) and callable(function):
                yield f"{name[5:]}.{key[len(prefix):]}", function


def run_one(name, function, binary, template, keep):
    world = lib.World(binary, template, name)
    begun = time.monotonic()
    try:
        function(world)
        print(f"  ok    {name}  ({time.monotonic() - begun:.1f} s)", flush=True)
        return "passed"
    except lib.Skip as reason:
        print(f"  skip  {name}: {reason}", flush=True)
        return "skipped"
    except Exception as error:
        print(f"  FAIL  {name}: {error}", flush=True)
        if not isinstance(error, lib.Failure):
            traceback.print_exc()
        for h in world.servers:
            print(f"--- log of {h.folder.name}:\n{h.log_text()[-3000:]}", flush=True)
        return "failed"
    finally:
        world.end(keep)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--heptap", required=True, help="the binary")
    p.add_argument("--only", default="", help="only tests whose name contains this")
    p.add_argument("--soak", action="store_true", help="the long random rounds instead")
    p.add_argument("--keep", action="store_true", help="keep the folders of the tests")
    p.add_argument("--sanitized", action="store_true", help="leave out what shows nothing more under a sanitizer")
    p.add_argument("--jobs", type=int, default=4, help="tests at a time; most of them wait")
    options = p.parse_args()
    chosen = [(n, f) for n, f in tests("soak_" if options.soak else "test_") if options.only in n]
    if options.sanitized:
        chosen = [(n, f) for n, f in chosen if not getattr(f, "only_waits", False) and not getattr(f, "release_only", False)]
    if options.sanitized and "tsan" in options.heptap:
        chosen = [(n, f) for n, f in chosen if f.__module__ not in NOT_FOR_TSAN]
    os.environ.setdefault("TSAN_OPTIONS", f"suppressions={lib.ROOT / 'tests' / 'tsan.supp'} history_size=7")  # as run-all.sh has it
    template = pathlib.Path(tempfile.mkdtemp(prefix="heptap-template-"))
    try:
        lib.Database(template).install()
        binary = pathlib.Path(options.heptap).resolve()
        with concurrent.futures.ThreadPoolExecutor(1 if options.soak else options.jobs) as pool:
            results = list(pool.map(lambda t: run_one(*t, binary, template / "data", options.keep), chosen))
    finally:
        shutil.rmtree(template, ignore_errors=True)
    skipped = results.count("skipped")
    print(f"{results.count('passed')} passed, {results.count('failed')} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if results and "failed" not in results else 1


if __name__ == "__main__":
    sys.exit(main())

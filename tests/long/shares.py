# SPDX-License-Identifier: GPL-2.0-or-later
"""shares: a sweep runs itself so many times at once, and prints one TAP of it all.

Model: a sweep has a list of names, each a test.  Given --names A,B it runs these one after the other;
without, it starts --jobs of itself with a share of the names each.
"""

import argparse
import os
import re
import subprocess
import sys

TEST = re.compile(r"(not ok|ok) \d+ - (.*)")


def parser(text):
    """An ArgumentParser with --list, --only, --jobs and --names."""
    made = argparse.ArgumentParser(description=text,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="print the points' names")
    made.add_argument("--only", default="", help="only the points with this in their names")
    made.add_argument("--jobs", type=int, default=os.cpu_count(), help="guests at a time")
    made.add_argument("--names", help=argparse.SUPPRESS)
    return made


def run(script, names, options, *more):
    """The exit status.  What is no line of TAP passes through."""
    print(f"1..{len(names)}", flush=True)
    parts = [names[start::options.jobs] for start in range(options.jobs)]
    running = [subprocess.Popen([sys.executable, script, "--only", options.only, *more,
                                 "--names", ",".join(part)], stdout=subprocess.PIPE, text=True)
               for part in parts if part]
    number = failed = 0
    try:
        for process in running:
            for line in process.stdout:
                found = TEST.match(line)
                if found:
                    number += 1
                    failed += found[1] != "ok"
                    line = f"{found[1]} {number} - {found[2]}\n"
                if not line.startswith("1.."):
                    print(line, end="", flush=True)
            failed += process.wait() not in (0, 1)
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return 1 if failed or number != len(names) else 0

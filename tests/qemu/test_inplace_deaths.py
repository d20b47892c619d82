#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""As test_recovery.py, of a snapshot whose memory is a vmstate, and of a revert in place: the proxy, QEMU or
both are killed behind a step.  STEPS=all tries every step; by default a few, chosen by SEED."""

import os
import sys

os.environ.setdefault("STEPS", "2")

# pylint: disable=wrong-import-position
import test_recovery
from scene import harness

OPERATIONS = [operation for operation in test_recovery.OPERATIONS if operation not in test_recovery.HERE]
TESTS = [test_recovery.make(operation, kind) for operation in OPERATIONS
         for kind in ("cold", "qemu", "alone", "later")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))

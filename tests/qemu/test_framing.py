#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The framer and the checks of a request against the real QEMU under test: same answers, same order.

A sample of tests/differential; QMP_PROXY_FRAMING_COUNT asks for more inputs.
"""

import os
import sys
from pathlib import Path

DIFFERENTIAL = Path(__file__).resolve().parent.parent / "differential" / "diff_framer.py"
DUMP = Path(os.environ["QMP_PROXY_BIN"]).parent / "tests" / "differential" / "framer_dump"

os.execv(sys.executable, [
    sys.executable, str(DIFFERENTIAL), "--qemu", os.environ.get("QEMU", "qemu-system-x86_64"),
    "--dump", str(DUMP), "--count", os.environ.get("QMP_PROXY_FRAMING_COUNT", "1500")])

"""`python -m infra.running.tethered COMMAND …`: become COMMAND, and end with the process that started it.

Linux only; elsewhere COMMAND runs untethered. The tie holds for COMMAND itself: what it starts, it must end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(command: list[str], *, parent: int) -> None:
    """Replace this process by `command`, which gets SIGTERM when `parent` is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the tie was made
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[2:], parent=int(sys.argv[1]))

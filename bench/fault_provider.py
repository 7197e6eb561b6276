"""Run the tests' fault provider in a process of its own. It keeps no requests, so it suits long runs.

python -m bench.fault_provider PORT
"""

from __future__ import annotations

import sys
import threading

from tests.providers.fault_server import FaultServer


def main(port: int) -> None:
    """Serve until the process is ended."""
    with FaultServer(port=port, keep=False):
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))

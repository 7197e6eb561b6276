"""`semroute` with a dialect more: its folder beside the others, and its line in the table."""

from __future__ import annotations

from pathlib import Path

import semroute.dialects
from semroute.config.dialects import DIALECTS, DialectRules

# Not only in the main process: worker processes read this module too.
semroute.dialects.__path__.append(str(Path(__file__).parent))
DIALECTS["toy"] = DialectRules(key_headers=("x-toy-key",))

if __name__ == "__main__":
    from semroute.cli import main

    main()

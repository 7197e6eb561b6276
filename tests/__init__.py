"""The tests run on every core. Threads of the linear algebra on top of that wait for each other busily: training takes
four times as long. This is set before numpy is imported, here and in what the tests start."""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

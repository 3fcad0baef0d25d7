"""A worker with a defect in a view: run in place of ``barstream``."""

from __future__ import annotations

import sys
from typing import Any

from barstream.cli import main
from barstream.serve.worker_reads import WorkerReads


def _fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect made for a fault run")


if __name__ == "__main__":
    WorkerReads.bars = _fails  # type: ignore[method-assign]
    sys.argv[1:] = ["worker"]
    main()

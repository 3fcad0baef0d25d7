"""``python -m barstream`` is the console script."""

from __future__ import annotations

from barstream.cli import main

if __name__ == "__main__":
    main()

"""``python -m napari_attnseg`` is ``attnseg``."""

from __future__ import annotations

import sys

from napari_attnseg.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m napari_attnseg.jobs``: the child that does the work."""

from __future__ import annotations

import sys

from napari_attnseg.jobs.child import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

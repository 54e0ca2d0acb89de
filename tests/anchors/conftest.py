"""Tests against other libraries, which `make test-anchors` installs; without them none is run."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType

ANCHORS = ("timm", "segmentation_models_pytorch", "pytorch_grad_cam", "torchcam")

collect_ignore_glob = [] if all(map(find_spec, ANCHORS)) else ["test_*.py"]


def _import_torchvision() -> None:
    """Import torchvision, also where it was built for another torch than the one there is.

    Its compiled operators cannot be loaded then, and only their descriptions fail; the anchors
    use none of them.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        name = "torchvision._meta_registrations"
        sys.modules[name] = ModuleType(name)
        importlib.import_module("torchvision")


if not collect_ignore_glob:
    _import_torchvision()

"""Codes of SNOMED CT for the names of classes, so that other programs know what a segment is."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

SCHEME = "99ATTNSEG"
"""Ours, for names that SNOMED CT has not."""

_LESIONS = ("tumor", "tumour", "lesion", "necrosis", "edema", "oedema", "cyst", "metastasis",
            "mass", "nodule", "neoplasm", "infarct")  # fmt: skip
_ALIASES = {
    "tumor": "Neoplasm", "tumour": "Neoplasm", "oedema": "Edema", "lesion": "Lesion",
    "cord": "SpinalCord", "vein": "Vein", "gray matter": "GrayMatter", "grey matter": "GrayMatter",
}  # fmt: skip
_SIDES = {"left": "Left", "right": "Right", "l": "Left", "r": "Right"}


class SegmentCode(NamedTuple):
    """What a segment is, in codes; the side is None where the name tells none."""

    category: Code
    kind: Code
    side: Code | None


def code_of(name: str, value: int) -> SegmentCode:
    """Return codes for a class.

    Args:
        name: Such as ``"left kidney"`` or ``"kidney_left"``.
        value: In the label map; the code of a name that SNOMED CT has not.
    """
    words = [one for one in re.split(r"[^a-z]+", name.lower()) if one]
    sides = [_SIDES[one] for one in words if one in _SIDES]
    bare = [one for one in words if one not in _SIDES]
    keyword = _ALIASES.get(" ".join(bare)) or "".join(one.capitalize() for one in bare)
    found = _snomed(keyword) if keyword else None
    is_lesion = any(one in _LESIONS for one in words)
    category = "MorphologicallyAbnormalStructure" if is_lesion else "AnatomicalStructure"
    own = Code(str(value), SCHEME, (name or f"class {value}")[:64])
    side = _snomed(sides[0]) if found is not None and len(sides) == 1 else None
    return SegmentCode(_required(category), found or own, side)


def _snomed(keyword: str) -> Code | None:
    try:
        return getattr(codes.SCT, keyword)
    except AttributeError:
        return None


def _required(keyword: str) -> Code:
    found = _snomed(keyword)
    assert found is not None
    return found

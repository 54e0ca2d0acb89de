"""Names of label values, kept inside a NIfTI file as Connectome Workbench and others keep them.

The header extension holds an XML label table (``CaretExtension``), so a mask opens with its class
names wherever such a table is understood, and as a plain volume elsewhere.
"""

from __future__ import annotations

import colorsys
import struct
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

CODE = 30
"""The registered extension code of Caret."""

LARGEST = 4 << 20
_GOLDEN_RATIO = 0.618034


def classes_in(extensions: bytes, order: str) -> dict[int, str]:
    """Return the class names in a header's extensions; empty if there are none.

    Args:
        extensions: The bytes between a header and the voxels.
        order: Byte order of the header, ``"<"`` or ``">"``.
    """
    if len(extensions) < 12 or extensions[0] == 0:
        return {}
    at = 4
    while at + 8 <= len(extensions):
        (size,) = struct.unpack_from(f"{order}i", extensions, at)
        if size < 8 or at + size > len(extensions):
            return {}
        content = extensions[at + 8 : at + size].rstrip(b"\0")
        if b"<CaretExtension" in content[:1000]:
            return _label_table(content)
        at += size
    return {}


def extension_of(classes: Mapping[int, str]) -> bytes:
    """Return what stands between a little-endian header and the voxels; the flag included."""
    if not classes:
        return b"\0\0\0\0"
    rows = "".join(_row(value, name) for value, name in sorted(classes.items()))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0">'
        f"<LabelTable>{rows}</LabelTable><StudyMetaDataLinkSet></StudyMetaDataLinkSet>"
        "<VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>"
    ).encode()
    size = -(-(len(text) + 8) // 16) * 16
    return b"\1\0\0\0" + struct.pack("<ii", size, CODE) + text.ljust(size - 8, b"\0")


def _row(value: int, name: str) -> str:
    red, green, blue = colorsys.hsv_to_rgb(value * _GOLDEN_RATIO % 1, 0.7, 0.9)
    attributes = {"Key": value, "Red": red, "Green": green, "Blue": blue, "Alpha": 1}
    written = " ".join(f"{key}={quoteattr(f'{one:.6g}')}" for key, one in attributes.items())
    safe = "".join(one for one in name if one.isprintable()).replace("]]>", "]] >")
    return f"<Label {written}><![CDATA[{safe}]]></Label>"


def _label_table(content: bytes) -> dict[int, str]:
    # No document of ours declares entities; one that does may be built to exhaust memory.
    if len(content) > LARGEST or b"<!ENTITY" in content:
        return {}
    try:
        root = ElementTree.fromstring(content)
        labels = {int(one.attrib["Key"]): (one.text or "").strip() for one in root.iter("Label")}
    except (ElementTree.ParseError, LookupError, ValueError):
        return {}
    return {value: name for value, name in labels.items() if value > 0 and name}

"""Start a network with weights from a file that a person has, whichever kind they are."""

from __future__ import annotations

from pathlib import Path

from napari_attnseg.models.contract import SegmentationModel
from napari_attnseg.models.pretrained import PretrainedReport, load_pretrained, read_weights
from napari_attnseg.models.reference_weights import is_reference, load_reference


def load_initial(model: SegmentationModel, path: str | Path) -> PretrainedReport:
    """Give a network the weights in a file: a whole one's, or those of an encoder on ImageNet.

    Args:
        model: Its weights are changed in place, all or none.
        path: A safetensors file, or a state dict that torch saved, of which only tensors are
            read; see `reference_weights` and `pretrained` for what is known.

    Raises:
        ModelError: If the file cannot be read or is of another network.
    """
    names = (name.removeprefix("module.") for name in read_weights(Path(path)))
    load = load_reference if is_reference(names) else load_pretrained
    return load(model, path)

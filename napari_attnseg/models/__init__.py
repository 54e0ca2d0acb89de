"""Networks: any backbone with any attention module, in 2 or 3 dimensions."""

from napari_attnseg.models.build import build_model, check_pair
from napari_attnseg.models.catalogue import describe_model, list_models
from napari_attnseg.models.contract import LayerGrid, ModelError, ModelOutput, SegmentationModel
from napari_attnseg.models.networks import network_config
from napari_attnseg.models.pretrained import load_pretrained
from napari_attnseg.models.recording import RecordedMap, record

__all__ = [
    "LayerGrid",
    "ModelError",
    "ModelOutput",
    "RecordedMap",
    "SegmentationModel",
    "build_model",
    "check_pair",
    "describe_model",
    "list_models",
    "load_pretrained",
    "network_config",
    "record",
]

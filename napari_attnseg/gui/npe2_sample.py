"""Sample data for napari: the built-in phantoms, with their labels."""

from __future__ import annotations

from typing import Any

from napari_attnseg.gui.viewer.volume_layers import LayerData, volume_layers


def organs() -> list[LayerData]:
    """Return a phantom of several organs."""
    return _phantom("phantom", seed=0)


def oblique() -> list[LayerData]:
    """Return a phantom whose volume is turned against the patient's axes."""
    return _phantom("oblique phantom", seed=1, oblique=True)


def thick_slices() -> list[LayerData]:
    """Return a phantom with thick slices."""
    return _phantom("phantom, thick slices", seed=2, anisotropic=True)


def two_channels() -> list[LayerData]:
    """Return a phantom with two channels."""
    return _phantom("phantom, two channels", seed=3, channels=2)


def _phantom(name: str, *, seed: int, **options: Any) -> list[LayerData]:
    from napari_attnseg.cohort.phantoms import phantom

    image, label = phantom(seed, **options)
    return [*volume_layers(image, name), *volume_layers(label, f"{name} · labels")]

"""Published networks by their own names: a backbone with its attention in its places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.contract import UnknownNameError
from napari_attnseg.registry import Registry, UnknownPartError


@dataclass(frozen=True)
class Network:
    """One entry of the registry.

    Args:
        summary: One sentence for people.
        config: As published.
    """

    summary: str
    config: ModelConfig


NETWORKS: Registry[Network] = Registry("network", "napari_attnseg.models.networks")


def network_config(name: str, **changes: Any) -> ModelConfig:
    """Return the configuration of a published network.

    Args:
        name: As it was published, such as ``"SE_UNet"``.
        **changes: Settings to change, such as ``in_channels`` and ``out_channels``.

    Raises:
        UnknownNameError: If there is no such network.
    """
    try:
        return NETWORKS[name].config.replace(**changes)
    except UnknownPartError as error:
        raise UnknownNameError(error.kind, error.name, error.names) from error

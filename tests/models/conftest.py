"""Every pair of the registries, with place, size, batch and channels rotated by a hash."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import SegmentationModel, build_model
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.backbones import BACKBONES
from napari_attnseg.models.build import places, why_dims_not, why_site_not

SIZES = ((5, 9, 7), (1, 1, 1), (3, 12, 16), (8, 13, 10), (2, 3, 1), (6, 17, 4))


@dataclass(frozen=True)
class Case:
    """One pair at one place, with the input that its name's hash chooses."""

    backbone: str
    attention: str
    site: str
    dims: int

    def __str__(self) -> str:
        return f"{self.backbone}-{self.attention}-{self.site}-{self.dims}d"

    @property
    def turn(self) -> int:
        return zlib.crc32(str(self).encode())

    @property
    def batch(self) -> int:
        return 1 + self.turn // 2 % 2

    @property
    def size(self) -> tuple[int, ...]:
        return SIZES[self.turn // 4 % len(SIZES)]

    @property
    def config(self) -> ModelConfig:
        return ModelConfig(
            backbone=self.backbone,
            attention=self.attention,
            sites=(self.site,),
            dims=self.dims,
            in_channels=(1, 4)[self.turn % 2],
            out_channels=3,
            preset="tiny",
        )

    def model(self) -> SegmentationModel:
        torch.manual_seed(self.turn)
        return build_model(self.config)

    def input(self) -> Tensor:
        return self.input_of(self.batch, self.size)

    def input_of(self, batch: int, size: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(self.turn)
        return torch.randn(batch, self.config.in_channels, *size, generator=generator)

    def every_input(self) -> Iterator[Tensor]:
        for batch, size in itertools.product((1, 2), SIZES):
            yield self.input_of(batch, size)


def _fits(case: Case) -> bool:
    pair = BACKBONES[case.backbone], ATTENTION[case.attention]
    return not (why_dims_not(*pair, case.dims) or why_site_not(*pair, case.site))


_ALL = [
    Case(backbone, attention, site, dims)
    for backbone in BACKBONES
    for attention in ATTENTION
    for site in places(BACKBONES[backbone])
    for dims in (2, 3)
]


def each_pair_once() -> list[Case]:
    """Return every pair in 2 and 3 dimensions at a place that its name's hash picks."""
    by_pair: dict[str, list[Case]] = {}
    for case in filter(_fits, _ALL):
        pair = f"{case.backbone}-{case.attention}-{case.dims}d"
        by_pair.setdefault(pair, []).append(case)
    return [found[zlib.crc32(pair.encode()) % len(found)] for pair, found in by_pair.items()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that asks for `case` every pair, and for `refused` all that are none.

    Slow tests are given every pair at every place.
    """
    if "case" in metafunc.fixturenames:
        is_slow = metafunc.definition.get_closest_marker("slow") is not None
        cases = list(filter(_fits, _ALL)) if is_slow else each_pair_once()
        metafunc.parametrize("case", cases, ids=str)
    if "refused" in metafunc.fixturenames:
        metafunc.parametrize("refused", [one for one in _ALL if not _fits(one)], ids=str)

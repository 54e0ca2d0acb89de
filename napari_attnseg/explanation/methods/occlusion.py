"""Occlusion (Zeiler and Fergus, 2014, arXiv:1311.2901): blocks, organs, supervoxels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import METHODS, InputMethod, Painted, View, Work
from napari_attnseg.explanation.perturb import FILLINGS, batches, block_mask, filling

Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Covering(Config):
    """What is covered, and by what."""

    what: str = setting(
        "blocks",
        help="What is covered at a time: blocks, the organs that were found, or supervoxels",
        choices=("blocks", "organs", "supervoxels"),
    )
    size: int | None = setting(
        None, help="Voxels of a block along each axis; by default as `count` says", minimum=1
    )
    step: int | None = setting(
        None, help="Voxels from one block to the next; by default they touch", minimum=1
    )
    count: int = setting(
        216, help="About how many blocks or supervoxels", minimum=1, maximum=100_000
    )
    baseline: str = setting("blurred", help="What covers", choices=FILLINGS)


class Pieces:
    """Parts of a volume that are covered one after the other."""

    def __len__(self) -> int:
        raise NotImplementedError

    def touching(self, view: View, start: Size) -> list[int]:
        """Return the pieces that a window with its context shows."""
        raise NotImplementedError

    def masks(self, view: View, start: Size, some: list[int]) -> Tensor:
        """Return where pieces are in a window with its context, boolean ``(n, d, h, w)``."""
        raise NotImplementedError

    def painted(self, drops: Tensor) -> Tensor:
        """Return at each voxel the mean drop of the pieces that cover it, ``(D, H, W)``."""
        raise NotImplementedError


class Blocks(Pieces):
    """Blocks of one size; the last of each axis ends with the volume.

    Args:
        shape: Of the volume.
        size: Voxels of a block.
        step: Voxels from one to the next.
    """

    def __init__(self, shape: Size, size: Size, step: Size) -> None:
        self.shape = shape
        rows = zip(shape, size, step, strict=True)
        sides = [
            [slice(at, min(n, at + width)) for at in _firsts(n, width, by)]
            for n, width, by in rows
        ]
        self.blocks: list[Block] = [(d, h, w) for d, h, w in product(*sides)]

    def __len__(self) -> int:
        return len(self.blocks)

    def touching(self, view: View, start: Size) -> list[int]:
        inside = view.inside(start)
        return [i for i, block in enumerate(self.blocks) if _meet(block, inside)]

    def masks(self, view: View, start: Size, some: list[int]) -> Tensor:
        return torch.stack([block_mask(view, self.blocks[index], start) for index in some])

    def painted(self, drops: Tensor) -> Tensor:
        total, times = torch.zeros(self.shape), torch.zeros(self.shape)
        for block, drop in zip(self.blocks, drops.float(), strict=True):
            total[block] += drop
            times[block] += 1
        return total / times.clamp(min=1)


class Regions(Pieces):
    """Regions of a label map.

    Args:
        labels: ``(D, H, W)``, integers.
        values: Of the regions.
    """

    def __init__(self, labels: Tensor, values: list[int]) -> None:
        self.labels, self.values = labels, values

    def __len__(self) -> int:
        return len(self.values)

    def touching(self, view: View, start: Size) -> list[int]:
        there = set(self.labels[view.inside(start)].unique().tolist())
        return [index for index, value in enumerate(self.values) if value in there]

    def masks(self, view: View, start: Size, some: list[int]) -> Tensor:
        here = view.plan.cut(self.labels[None, None].float(), start)[0, 0]
        return torch.stack([here == self.values[index] for index in some])

    def painted(self, drops: Tensor) -> Tensor:
        result = torch.zeros(self.labels.shape)
        for value, drop in zip(self.values, drops.float(), strict=True):
            result[self.labels == value] = drop
        return result


@METHODS.register("occlusion")
class Occlusion(InputMethod):
    """How much the score falls when a part of the image is covered; no gradient is needed.

    ``L(u)`` is the mean of ``y(x) - y(x covered)`` over the parts that cover u. The target stays
    as it was predicted on the whole image.
    """

    title = "Occlusion"
    Options = Covering

    def work(self, view: View) -> int:
        pieces = self._pieces(view)
        counts = [len(pieces.touching(view, start)) for start in view.starts()]
        return sum(1 + len(list(batches(count, view.batch))) for count in counts)

    def steps(self, view: View) -> Work[Painted]:
        pieces, base = self._pieces(view), filling(view, self.options.baseline)
        drops = torch.zeros(len(pieces), dtype=torch.float64)
        for start in view.starts():
            x, b = view.cut(view.x, start), view.cut(base, start)
            whole = view.scores(start, x)
            yield
            touched = pieces.touching(view, start)
            for some in ([touched[i] for i in one] for one in batches(len(touched), view.batch)):
                masks = pieces.masks(view, start, some)[:, None].to(x.device)
                drops[some] += whole - view.scores(start, torch.where(masks, b, x))
                yield
        return Painted(pieces.painted(drops), self._facts(pieces, drops))

    def _facts(self, pieces: Pieces, drops: Tensor) -> dict[str, Any]:
        facts: dict[str, Any] = {"pieces": len(pieces)}
        if self.options.what == "organs" and isinstance(pieces, Regions):
            shares = drops.abs() / drops.abs().sum().clamp(min=1e-12)
            rows = zip(pieces.values, drops.tolist(), shares.tolist(), strict=True)
            facts["regions"] = [{"index": i, "drop": d, "drop_share": s} for i, d, s in rows]
        return facts

    def _pieces(self, view: View) -> Pieces:
        if "pieces" not in view.notes:
            view.notes["pieces"] = self._made(view)
        found: Pieces = view.notes["pieces"]
        return found

    def _made(self, view: View) -> Pieces:
        if self.options.what == "organs":
            there = view.labels.unique().tolist()
            return Regions(view.labels.long(), [int(value) for value in there if value])
        if self.options.what == "supervoxels":
            return _supervoxels(view, self.options.count)
        shape = view.plan.size
        size = shape_of_blocks(view, self.options.count)
        if self.options.size is not None:
            size = (self.options.size,) * 3
        size = (min(size[0], shape[0]), min(size[1], shape[1]), min(size[2], shape[2]))
        step = size if self.options.step is None else (self.options.step,) * 3
        return Blocks(shape, size, step)


def shape_of_blocks(view: View, count: int) -> Size:
    """Return voxels along D, H and W of blocks, cubes in mm, of which so many fill a volume."""
    millimetres = np.array(view.plan.size) * np.array(view.spacing)
    side = (float(millimetres.prod()) / count) ** (1 / 3)
    d, h, w = (max(1, round(side / mm)) for mm in view.spacing)
    return d, h, w


def _supervoxels(view: View, count: int) -> Regions:
    """Return regions of like intensity (SLIC, Achanta et al., 2012)."""
    from skimage.segmentation import slic

    image = view.x[0].cpu().numpy().transpose(1, 2, 3, 0)  # (D, H, W, C)
    low, high = image.min(axis=(0, 1, 2)), image.max(axis=(0, 1, 2))
    scaled = (image - low) / np.where(high > low, high - low, 1)
    labels = slic(
        scaled,
        n_segments=count,
        compactness=0.1,
        spacing=view.spacing,
        start_label=1,
        channel_axis=-1,
    )
    return Regions(torch.from_numpy(labels.astype(np.int64)), np.unique(labels).tolist())


def _firsts(size: int, width: int, step: int) -> Iterator[int]:
    return iter(step * at for at in range(1 + math.ceil(max(0, size - width) / step)))


def _meet(block: Block, inside: Block) -> bool:
    pairs = zip(block, inside, strict=True)
    return all(a.start < b.stop and b.start < a.stop for a, b in pairs)

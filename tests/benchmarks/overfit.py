"""Overfit one phantom case with every backbone, without attention and with that of its paper.

    python tests/benchmarks/overfit.py [--backbones unet3d,vnet] [--steps 300] [--json FILE]

Each ``tiny`` network learns the middle of one phantom until its mean Dice is 0.95 or its steps
are used up. The logits of FCN-32s and 16s are coarse: the best Dice that logits of their
resolution reach is found by fitting such logits themselves, and 0.02 below it is enough. Prints a
table; the exit status is 1 if a network stays below.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.cohort.phantoms import phantom
from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.losses import LOSSES
from napari_attnseg.models import build_model
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.backbones import BACKBONES
from napari_attnseg.models.build import places, why_site_not
from napari_attnseg.training.batches import Batch
from napari_attnseg.training.learner import Learner

WANTED, SLACK = 0.95, 0.02
SIZE = (16, 32, 24)
LOOK_EVERY = 20

PAPERS = {
    "deeplab-resnest": ("split", ()),
    "guided": ("dual", ()),
    "resnet-unet": ("se", ("concat",)),
    "unet2d": ("se", ("concat",)),
    "unet3d": ("pam", ()),
    "vnet": ("pam", ()),
}
"""Attention that a paper put in a backbone, and where, if not where the module's own paper did;
for the others, squeeze and excitation."""

COARSE = {"fcn32s": 1, "fcn16s": 2}
"""Networks whose logits are coarser than labels: the deepest stride over that of the logits."""


def case() -> tuple[Tensor, Tensor, int]:
    """Return an image ``(1, 1, D, H, W)``, its label ``(1, D, H, W)`` and the classes."""
    image, label = phantom(0, size=(32, 48, 44), lesion=False)
    whole = torch.from_numpy(label.data[0].astype("int64"))
    starts = [(n - wanted) // 2 for n, wanted in zip(whole.shape, SIZE, strict=True)]
    d, h, w = (slice(at, at + n) for at, n in zip(starts, SIZE, strict=True))
    target = whole[d, h, w]
    # What is left of an organ at the edge is no organ.
    sizes = torch.bincount(target.flatten())
    kept = [value for value in range(1, len(sizes)) if sizes[value] >= 150]
    classes = torch.zeros_like(target)
    for index, value in enumerate(kept, start=1):
        classes[target == value] = index
    voxels = torch.from_numpy(image.data[:1].astype("float32"))[:, d, h, w]
    return ((voxels - voxels.mean()) / voxels.std())[None], classes[None], len(kept) + 1


def mean_dice(logits: Tensor, label: Tensor, classes: int) -> float:
    found = logits.argmax(dim=1)
    scores = []
    for value in range(1, classes):
        mine, theirs = found == value, label == value
        both = int((mine & theirs).sum())
        scores.append(2 * both / max(1, int(mine.sum() + theirs.sum())))
    return sum(scores) / len(scores)


def best_of_coarse(label: Tensor, classes: int, stride: tuple[int, ...]) -> float:
    """Return the best Dice of logits of a stride, linearly interpolated, by fitting them."""
    size = [math.ceil(n / step) for n, step in zip(label.shape[1:], stride, strict=True)]
    coarse = torch.zeros((1, classes, *size), requires_grad=True)
    optimiser = torch.optim.Adam([coarse], lr=0.3)
    best = 0.0
    for _ in range(400):
        fine = F.interpolate(
            coarse,
            scale_factor=tuple(map(float, stride)),
            mode="trilinear",
            align_corners=False,
        )
        d, h, w = label.shape[1:]
        logits = fine[:, :, :d, :h, :w]
        loss = LOSSES["dice-ce"](logits, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        best = max(best, mean_dice(logits.detach(), label, classes))
    return best


def places_for(backbone: str, attention: str) -> tuple[str, ...]:
    """Return the places of a module's paper that a backbone has, or else the first that it has."""
    module = ATTENTION[attention]
    name, sites = PAPERS.get(backbone, ("", ()))
    if name == attention and sites:
        return sites
    fits = [
        one
        for one in places(BACKBONES[backbone])
        if not why_site_not(BACKBONES[backbone], module, one)
    ]
    return tuple(one for one in module.default_sites if one in fits) or tuple(fits[:1])


def overfit(backbone: str, attention: str, steps: int) -> dict[str, Any]:
    """Train until the Dice is high enough or the steps are used up."""
    image, label, classes = case()
    torch.manual_seed(0)
    dims = BACKBONES[backbone].dims[0]
    sites = places_for(backbone, attention)
    model = build_model(ModelConfig(backbone, attention, sites, dims, out_channels=classes))
    ceiling = 1.0
    if backbone in COARSE:
        finer = COARSE[backbone]
        stride = tuple(max(1, step // finer) for step in model.size_multiple)
        ceiling = best_of_coarse(label, classes, stride)
    enough = min(WANTED, ceiling - SLACK) if backbone in COARSE else WANTED
    learner = Learner(
        model,
        LOSSES["dice-ce"],
        train=TrainConfig(),
        is_fine_tuning=False,
        precision="float32",
    )
    began, dice, done = time.process_time(), 0.0, 0
    while done < steps and dice < enough:
        for _ in range(LOOK_EVERY):
            part = done / steps
            rate = learner.peak_rate * (1 + math.cos(math.pi * part)) / 2
            learner.step(Batch(image, label), number=done, rate=rate, progress=part)
            done += 1
        with torch.no_grad():
            dice = mean_dice(cast("Tensor", model.eval()(image)), label, classes)
    return {
        "backbone": backbone,
        "attention": attention,
        "dims": dims,
        "steps": done,
        "dice": round(dice, 4),
        "wanted": round(enough, 4),
        "best_of_resolution": round(ceiling, 4),
        "cpu_seconds": round(time.process_time() - began, 1),
        "is_enough": dice >= enough,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--attention", default="none,paper", help="none, paper, or both")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = options.backbones.split(",")
    kinds = {"none": lambda name: "none", "paper": lambda name: PAPERS.get(name, ("se", ()))[0]}
    pairs = [(name, kinds[kind](name)) for kind in options.attention.split(",") for name in names]
    rows = []
    print(f"{'backbone':17} {'attention':9} dims steps   Dice wanted CPU s")
    for backbone, attention in pairs:
        row = overfit(backbone, attention, options.steps)
        rows.append(row)
        print(
            f"{backbone:17} {attention:9} {row['dims']:4} {row['steps']:5} {row['dice']:6.4f} "
            f"{row['wanted']:6.4f} {row['cpu_seconds']:5.1f} {'' if row['is_enough'] else 'LOW'}",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0 if all(row["is_enough"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

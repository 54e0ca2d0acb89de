"""Which maps tell what a trained network needs: every method at every layer, beside random maps.

    python tests/benchmarks/faithfulness.py RUN CASES --cases 8 --out table.jsonl
    python tests/benchmarks/faithfulness.py RUN CASES --cases 0 --only grad-cam@decoder2 ...
    python tests/benchmarks/faithfulness.py --read table.jsonl

RUN is a folder of a trained run, CASES a folder with the images ``<case>.nii.gz`` of its
validation cases. Each line of the file is one case, class, layer and method; what is there
already is not done again. Rows ``random`` and ``oracle`` belong to the blocks of a layer, so they
are taken once for all methods. ``--whole`` gives the network each case in one window, which is
quicker where cases are small.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from napari_attnseg.config import PredictConfig
from napari_attnseg.explanation import METHODS, ExplainError
from napari_attnseg.explanation.baseline import baseline
from napari_attnseg.explanation.blocks import Blocks, area, descending, replacement_curve
from napari_attnseg.explanation.check import checked_map, frozen_target
from napari_attnseg.explanation.checks.localisation import located
from napari_attnseg.explanation.checks.randomisation import Randomisation
from napari_attnseg.explanation.measure import CheckedMap, rows
from napari_attnseg.explanation.prepared import Prepared, prepare
from napari_attnseg.explanation.remake import remake_of
from napari_attnseg.explanation.remove import fractions_of, road
from napari_attnseg.explanation.verdict import LEAST_MARGIN
from napari_attnseg.inference import Run, load_run
from napari_attnseg.io import read_volume
from napari_attnseg.volume import Volume

STEPS = 10


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class Table:
    """A file with a line for each result; knows what is there already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = [json.loads(line) for line in path.open()] if path.is_file() else []
        self.keys = {self.key(line) for line in self.lines}

    @staticmethod
    def key(line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in ("case", "class", "layer", "row"))

    def add(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        self.keys.add(self.key(line))


class Scorer:
    """Measures orders of blocks of one layer on one case."""

    def __init__(self, checked: CheckedMap, measures: list[str], fractions: int) -> None:
        self.checked, self.measures = checked, measures
        self.blocks: Blocks = checked.blocks()
        self.fractions = fractions_of(checked, self.blocks, fractions)
        image = checked.subject.image
        empty = baseline(
            image,
            checked.subject.mask,
            kind="blurred",
            stride=checked.heat.stride,
            spacing=checked.spacing,
        )
        self.images = {"deletion": (image, empty), "insertion": (empty, image)}

    def __call__(self, order: np.ndarray) -> dict[str, float]:
        found = {}
        if "road" in self.measures:
            first, last = finish(road(self.checked, self.blocks, order, self.fractions))
            found["road"] = float(np.mean(np.subtract(last, first)) / 2)
        for name, images in self.images.items():
            if name in self.measures:
                steps = replacement_curve(self.blocks, order, images, STEPS, self.checked.score)
                found[name] = area(*finish(steps))
        return found


def one_window(prepared: Prepared) -> Prepared:
    """Return a case that the network sees in one window."""
    size = prepared.plan.size
    run = dataclasses.replace(
        prepared.run, plan=dataclasses.replace(prepared.run.plan, patch_size=size)
    )
    return prepare(run, prepared.image, prepared.settings)


def work(
    run: Run, file: Path, value: int, pairs: dict[str, list[str]], options: Any
) -> Iterator[dict[str, Any]]:
    """Yield a line for each row of each layer of a case."""
    prepared = prepare(run, read_volume(file), PredictConfig(device="cpu"))
    if options.whole:
        prepared = one_window(prepared)
    logits = finish(prepared.logits(torch.device("cpu")))
    try:
        target = frozen_target(prepared, logits, {"class": value})
    except ExplainError:
        return  # not found in this case
    for layer, methods in pairs.items():
        facts = {"case": file.name.split(".")[0], "class": value, "layer": layer}
        scorer = None
        for method in methods:
            if (*facts.values(), method) in options.table.keys:
                continue
            checked = made(prepared, target, {"method": method, "layer": layer, "class": value})
            if checked is None:
                continue
            scorer = scorer or Scorer(checked, options.measures, options.fractions)
            is_first = facts["case"] == options.first and "randomisation" in options.measures
            yield {**facts, "row": method, **row_of_map(scorer, checked, with_random=is_first)}
        if scorer is not None:
            yield from beside(scorer, facts, options)


def made(prepared: Prepared, target: Any, info: dict[str, Any]) -> CheckedMap | None:
    """Return a map with all that measuring takes; None where the method refuses."""
    try:
        remake, _ = remake_of(prepared, info, target)
        heat = finish(remake(prepared.run.model, prepared.x, target.region))
    except ExplainError as error:
        print(f"{info['layer']} {info['method']}: {error}", file=sys.stderr)
        return None
    low = prepared.grid.strided(heat.values.shape, heat.stride, heat.offset)
    return checked_map(prepared, Volume(heat.values[None], low.affine), info, target)


def row_of_map(scorer: Scorer, checked: CheckedMap, *, with_random: bool) -> dict[str, Any]:
    """Return all that is measured of a map."""
    start, heat = time.monotonic(), checked.heat
    found = scorer(descending(scorer.blocks.values(heat), checked.rng()))
    region = np.asarray(checked.subject.region)
    place = located(heat, region, checked.spacing)
    more = {name: place[name] for name in ("energy_inside", "rank_inside", "auc")}
    if with_random:
        result = finish(Randomisation().steps(checked))
        more["randomisation"] = result.value
        more["randomisation_curve"] = result.curves[0]["y"]
    return {**found, **more, "seconds": time.monotonic() - start}


def beside(scorer: Scorer, facts: dict[str, Any], options: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of random maps and of the mask, unless they are there already."""
    for row in rows(scorer.checked, scorer.blocks, options.randoms)[1:]:
        wanted = row.name == "random" or options.oracle
        if not wanted or (*facts.values(), row.name) in options.table.keys:
            continue
        values = [scorer(order) for order in row.orders]
        found = {name: [one[name] for one in values] for name in values[0]}
        yield {**facts, "row": row.name, **found, "blocks": len(scorer.blocks)}


def wanted(run: Run, options: Any) -> dict[str, list[str]]:
    """Return methods by layer."""
    if options.only:
        pairs: dict[str, list[str]] = {}
        for word in options.only:
            method, _, layer = word.partition("@")
            pairs.setdefault(layer, []).append(method)
        return pairs
    methods = options.methods or list(METHODS)
    return dict.fromkeys(options.layers or run.model.layer_names, methods)


def summary(lines: list[dict[str, Any]]) -> None:
    """Print means over cases, and on how many cases a map is better than random."""
    rest = {Table.key(line): line for line in lines}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[line["layer"], line["row"]].append(line)
    names = ("road", "deletion", "insertion", "energy_inside", "randomisation")
    print(f"{'layer':12}{'row':14}" + "".join(f"{n:>15}" for n in names) + f"{'better':>10}")
    for (layer, row), found in groups.items():
        cells = []
        for name in names:
            values = [np.mean(one[name]) for one in found if one.get(name) is not None]
            cells.append(f"{np.mean(values):15.3f}" if values else f"{'':15}")
        better = [is_better(one, rest) for one in found if row not in ("random", "oracle")]
        known = [one for one in better if one is not None]
        share = f"{sum(one > 0 for one in known)}/{len(known)}" if known else ""
        worse = f" (worse {sum(one < 0 for one in known)})" if known else ""
        print(f"{layer:12}{row:14}" + "".join(cells) + f"{share:>10}{worse}")


def is_better(line: dict[str, Any], lines: dict[tuple[Any, ...], dict[str, Any]]) -> int | None:
    """Return 1 if a map is better than random by its ROAD value, -1 if worse, 0 if neither."""
    random = lines.get((line["case"], line["class"], line["layer"], "random"))
    if random is None or "road" not in line:
        return None
    values = np.array(random["road"])
    margin = float(student.ppf(0.975, len(values))) * float(np.sqrt(np.mean(values**2)))
    margin = max(LEAST_MARGIN, margin)
    return int(line["road"] > margin) - int(line["road"] < -margin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?")
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=8, help="0 for all validation cases")
    parser.add_argument("--classes", type=int, nargs="*")
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--layers", nargs="*")
    parser.add_argument("--only", nargs="*", help="method@layer")
    parser.add_argument("--measures", nargs="*", default=["road", "deletion", "insertion"])
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--fractions", type=int, default=5)
    parser.add_argument("--randoms", type=int, default=5)
    parser.add_argument("--oracle", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.read:
        summary(Table(options.read).lines)
        return
    torch.set_num_threads(1)
    run = load_run(options.run, device="cpu")
    cases = run.split["val"][: options.cases or None]
    options.first, options.table = cases[0], Table(options.out)
    for number, case in enumerate(cases):
        # Each case answers for one class, all classes in turn.
        values = options.classes or [sorted(run.classes)[number % len(run.classes)]]
        for value in values:
            file = options.images / f"{case}.nii.gz"
            for line in work(run, file, value, wanted(run, options), options):
                options.table.add(line)
                print({k: v for k, v in line.items() if k != "randomisation_curve"}, flush=True)
    summary(options.table.lines)


if __name__ == "__main__":
    main()

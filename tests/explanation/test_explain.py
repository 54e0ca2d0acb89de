from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_attnseg.explanation import (
    METHODS,
    ExplainError,
    explain,
    explain_tensor,
    list_layers,
    list_methods,
    write_explanation,
)
from napari_attnseg.inference import Run, RunError, predict
from napari_attnseg.inference.predict import network_input
from napari_attnseg.inference.sliding import strongest_class
from napari_attnseg.io import read_volume
from napari_attnseg.preprocessing import preprocess
from napari_attnseg.volume import Grid, Volume

OBLIQUE = np.array(
    [[-0.9, -0.3, 0.1, 5], [0.3, -0.95, 0.2, -7], [-0.2, -0.1, 1.1, 11], [0, 0, 0, 1.0]]
)
ORIENTATIONS = [
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
]


def found_class(run: Run, image: Volume) -> int:
    return int(np.unique(predict(run, image).data)[-1])


def make_linear(model: nn.Module) -> None:
    """Replace norms by the identity, and weights by ones."""
    for module in model.modules():
        for name, child in list(module.named_children()):
            kind = type(child).__name__
            if "Norm" in kind or "ReLU" in kind:
                setattr(module, name, nn.Identity())
            if kind == "MaxPool3d":
                setattr(module, name, nn.AvgPool3d(child.kernel_size, child.stride))
    for name, parameter in model.named_parameters():
        parameter.data.fill_(1.0 if name.endswith("weight") else 0.0)


@pytest.mark.parametrize("layer", ["encoder0", "encoder1", "bottleneck"])
@pytest.mark.parametrize("shape", [(13, 19, 17), (11, 43, 27)])
def test_a_voxel_of_the_map_lies_at_the_centre_of_what_it_sees(
    make_run: Any, layer: str, shape: tuple[int, int, int]
) -> None:
    run = make_run(plan={"spacing_dhw": (1.4, 1.0, 0.8)})
    data = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    image = Volume(data, OBLIQUE)
    explanation = explain(run, image, found_class(run, image), "hires-cam", layer)
    grid = Grid(
        tuple(explanation.info["network_grid"]["shape_dhw"]),
        np.array(explanation.info["network_grid"]["affine_ras"]),
    )
    make_linear(run.model)
    kept = []
    run.model.layer(layer).register_forward_hook(lambda *a: kept.append(a[2]))
    x = torch.zeros(1, 1, 56, 48, 52, requires_grad=True)  # room for what one voxel sees
    run.model(x)
    voxel = tuple(n // 2 for n in kept[0].shape[2:])

    seen = torch.autograd.grad(kept[0][0, 0][voxel], x)[0][0, 0].numpy()

    centre = [(np.indices(seen.shape)[axis] * seen).sum() / seen.sum() for axis in range(3)]
    low = explanation.map.grid.reoriented(run.plan.orientation)
    assert np.abs(low.voxel(grid.world(np.array(centre))) - voxel).max() < 1e-3


@pytest.mark.parametrize(
    ("method", "orientation"),
    [(name, ORIENTATIONS[(5 + 7 * at) % 48]) for at, name in enumerate(sorted(METHODS))],
)
def test_the_storage_order_of_an_image_moves_no_evidence(
    make_run: Any, image: Volume, cheap: Any, orientation: str, method: str
) -> None:
    run = make_run(attention="presence", options={"activation": "relu"})
    place = image.grid.world(np.array([9, 14, 11])).tolist()
    asked = {"class": 1, "kind": "voxel", "at": place}

    straight = explain(run, image, asked, method, options=cheap(method))
    turned = explain(run, image.reoriented(orientation), asked, method, options=cheap(method))

    assert turned.map.orientation == orientation
    assert turned.map.grid.reoriented("RAS").difference(straight.map.grid) is None
    assert np.array_equal(turned.map.reoriented("RAS").data, straight.map.data)


def test_options_are_checked_and_recorded(make_run: Any, image: Volume) -> None:
    run, asked = make_run(), {"class": 1, "kind": "voxel", "voxel": [9, 14, 11]}

    made = explain(run, image, asked, "seg-xres-cam", options={"window": "2", "pooling": "max"})

    assert made.info["options"] == {"window": 2, "pooling": "max"}
    assert made.info["tag"] == "voxel-9-14-11_window-2_pooling-max"
    with pytest.raises(ExplainError, match=r"no setting 'windows'.*Its options: window, pooling"):
        explain(run, image, asked, "seg-xres-cam", options={"windows": 2})
    with pytest.raises(ExplainError, match="smallest allowed is 1"):
        explain(run, image, asked, "seg-xres-cam", options={"window": 0})
    with pytest.raises(ExplainError, match="which is no int"):
        explain(run, image, asked, "seg-xres-cam", options={"window": "wide"})


def test_each_image_of_a_case_has_its_share(make_run: Any) -> None:
    run = make_run(channels=("T1", "FLAIR"))
    first = next(one for one in run.model.modules() if isinstance(one, nn.Conv3d))
    first.weight.data[:, 1] = 0  # so that the network does not look at the second image
    data = np.random.default_rng(0).normal(size=(2, 14, 22, 18)).astype(np.float32)
    asked = {"class": 1, "kind": "voxel", "voxel": [7, 11, 9]}

    info = explain(run, Volume(data, np.eye(4)), asked, "modality", options={"steps": 4}).info

    rows = {row["name"]: row for row in info["modalities"]}
    assert list(rows) == ["T1", "FLAIR"]
    assert rows["FLAIR"]["drop"] == pytest.approx(0, abs=1e-6)
    assert rows["T1"]["drop_share"] == pytest.approx(1, abs=1e-3)
    assert rows["T1"]["gradients_share"] == pytest.approx(1, abs=1e-6)
    assert info["layer"] == "input"


def test_organs_that_were_found_are_covered_one_by_one(make_run: Any, image: Volume) -> None:
    run = make_run(classes={3: "liver", 9: "spleen"})
    found = set(np.unique(predict(run, image).data)) - {0}
    asked = {"class": 3, "kind": "voxel", "voxel": [9, 14, 11]}

    made = explain(run, image, asked, "occlusion", options={"what": "organs"})

    assert {row["class"] for row in made.info["regions"]} == found
    assert {row["name"] for row in made.info["regions"]} <= {"liver", "spleen"}
    values = set(np.unique(made.map.data))
    assert values <= {0.0, *(np.float32(row["drop"]) for row in made.info["regions"])}


def test_supervoxels_fill_the_image(make_run: Any) -> None:
    run = make_run()
    data = np.random.default_rng(0).normal(size=(1, 10, 14, 12)).astype(np.float32)
    asked = {"class": 1, "kind": "voxel", "voxel": [5, 7, 6]}
    options = {"what": "supervoxels", "count": 8, "baseline": "median"}

    made = explain(run, Volume(data, np.eye(4)), asked, "occlusion", options=options)

    assert 1 < made.info["pieces"] <= 40
    assert made.map.shape_dhw == (10, 14, 12)
    assert len(np.unique(made.map.data)) <= made.info["pieces"]


def test_what_a_method_assumes_is_said_where_it_does_not_hold(
    make_run: Any, image: Volume
) -> None:
    asked = {"class": 1, "kind": "voxel", "voxel": [9, 14, 11]}

    made = explain(make_run(), image, asked, "grad-cam++")

    assert made.map is None
    assert "features that are not negative" in made.info["reason"]
    with pytest.raises(ExplainError, match="class activation attention"):
        explain(make_run(), image, asked, "cam")


@pytest.mark.parametrize("size", [(14, 21, 18), (30, 45, 17)])
def test_the_record_places_the_map(make_run: Any, size: tuple[int, int, int]) -> None:
    run = make_run(plan={"spacing_dhw": (1.4, 1.0, 0.8)})
    data = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
    image = Volume(data, OBLIQUE)

    made = explain(run, image, found_class(run, image), layer="encoder1")

    info = made.info
    shape = tuple(info["network_grid"]["shape_dhw"])
    network = Grid(shape, np.array(info["network_grid"]["affine_ras"]))
    low = made.map.grid.reoriented(run.plan.orientation)
    placed = network.strided(low.shape_dhw, tuple(info["stride_dhw"]), tuple(info["offset_dhw"]))
    assert placed.difference(low) is None
    assert np.array_equal(np.array(info["affine_ras"]), made.map.affine)
    steps = np.linalg.inv(image.affine) @ made.map.affine
    assert np.allclose(steps[:3, :3], np.diag(np.diag(steps[:3, :3])), atol=1e-9)


def test_the_map_is_that_of_the_tensors(make_run: Any) -> None:
    run = make_run()
    image = Volume(np.random.default_rng(0).normal(size=(1, 16, 24, 20)).astype("f4"), np.eye(4))
    x = network_input(preprocess(image, run.plan))
    with torch.no_grad():
        mask = strongest_class(run.model(x)[0]) == run.class_index(2)

    made = explain(run, image, 2, "grad-cam", "decoder1")

    expected = explain_tensor(run.model, x, mask, 2, "grad-cam", "decoder1")[0].numpy()
    assert np.allclose(made.map.data, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_the_record_says_what_was_explained_and_how(make_run: Any, image: Volume) -> None:
    run = make_run(classes={3: "liver", 9: "spleen"})
    value = found_class(run, image)

    info = explain(run, image, value, "hires-cam", "encoder1").info

    assert json.loads(json.dumps(info)) == info
    assert (info["method"], info["layer"], info["class"]) == ("hires-cam", "encoder1", value)
    assert info["class_name"] == run.classes[value]
    assert info["target"]["kind"] == "class"
    assert info["target"]["reduction"] == "mean"
    assert info["target"]["voxels"] == int((predict(run, image).data == value).sum())
    assert info["stride_dhw"] == [2, 2, 2]
    assert info["offset_dhw"] == [0.5, 0.5, 0.5]
    assert info["precision"] == "float32"
    assert info["weights_sha256"] == run.weights_sha256
    assert info["degenerate"] is False
    assert info["coverage"]["windows"] >= info["coverage"]["explained"] >= 1


def test_the_range_is_that_of_the_map(make_run: Any, image: Volume) -> None:
    run = make_run()

    made = explain(run, image, found_class(run, image), layer="encoder1")

    assert made.info["range"] == [made.map.data.min(), made.map.data.max()]
    assert made.map.data.dtype == np.float32


def only_background(run: Run) -> None:
    head = [one for one in run.model.modules() if isinstance(one, nn.Conv3d)][-1]
    head.bias.data[:] = torch.tensor([1e4, 0.0, 0.0])


def test_a_class_that_was_not_found_gives_a_sentence(make_run: Any, image: Volume) -> None:
    run = make_run()
    only_background(run)

    made = explain(run, image, 1)

    assert made.map is None
    assert "no liver (class 1)" in made.info["reason"]
    assert made.info["target"]["voxels"] == 0


def test_no_positive_evidence_is_said_and_the_map_stays_raw(make_run: Any, image: Volume) -> None:
    run = make_run()
    only_background(run)
    head = [one for one in run.model.modules() if isinstance(one, nn.Conv3d)][-1]
    head.weight.data = -head.weight.data.abs()
    act = [one for one in run.model.layer("decoder0").modules() if "ReLU" in type(one).__name__]
    for one in act:
        one.negative_slope = 0.0

    made = explain(run, image, 0, "hires-cam", layer="decoder0")

    assert made.info["positive_evidence"] is False
    assert made.map.data.min() < 0
    assert any("No positive evidence" in remark for remark in made.info["remarks"])


def test_an_unknown_class_layer_or_method_is_refused(make_run: Any, image: Volume) -> None:
    run = make_run()

    with pytest.raises(RunError, match="no class 7; its classes are 1"):
        explain(run, image, 7)
    with pytest.raises(ExplainError, match="no layer 'head'"):
        explain(run, image, 1, layer="head")
    with pytest.raises(KeyError, match="hires-cam"):
        explain(run, image, 1, method="hirescam")


def test_layers_are_listed_with_their_stride_in_mm(make_run: Any) -> None:
    run = make_run(plan={"spacing_dhw": (3.0, 1.0, 0.5)})

    layers = {one.name: one for one in list_layers(run)}

    assert list(layers) == run.model.layer_names
    assert layers["encoder1"].stride_mm == (6.0, 2.0, 1.0)
    assert layers["decoder0"].remark == "≈ the segmentation itself"
    assert [one.name for one in layers.values() if one.is_default] == ["decoder1"]


def test_methods_are_listed_with_a_sentence_the_default_first() -> None:
    methods = list_methods()

    assert next(iter(methods)) == "layer-cam"
    assert set(methods) == set(METHODS)
    assert all(text.endswith(".") for text in methods.values())


def test_a_map_is_written_beside_its_record(make_run: Any, image: Volume, tmp_path: Path) -> None:
    run = make_run(classes={3: "liver", 9: "spleen"})
    value = found_class(run, image)
    made = explain(run, image.reoriented("LPS"), value, "hires-cam", layer="encoder1")

    file, record = write_explanation(tmp_path / "maps", "case7", made)

    assert file == tmp_path / "maps" / f"case7_hires-cam_{value}_encoder1.nii.gz"
    assert record == file.with_name(f"case7_hires-cam_{value}_encoder1.json")
    assert json.loads(record.read_text())["map"] == file.name
    back = read_volume(file)
    assert np.array_equal(back.data, made.map.data)
    assert np.allclose(back.affine, made.map.affine, atol=1e-5)


def test_where_there_is_no_map_the_record_says_why(
    make_run: Any, image: Volume, tmp_path: Path
) -> None:
    run = make_run()
    only_background(run)

    file, record = write_explanation(tmp_path, "case7", explain(run, image, 1))

    assert file is None
    assert json.loads(record.read_text())["map"] is None
    assert "no liver" in json.loads(record.read_text())["reason"]
    assert list(tmp_path.glob("case7*")) == [record]


def test_a_written_map_is_not_replaced_unasked(
    make_run: Any, image: Volume, tmp_path: Path
) -> None:
    run = make_run()
    made = explain(run, image, found_class(run, image))
    write_explanation(tmp_path, "case7", made)

    with pytest.raises(ExplainError, match="there already"):
        write_explanation(tmp_path, "case7", made)
    assert write_explanation(tmp_path, "case7", made, overwrite=True)[0].exists()

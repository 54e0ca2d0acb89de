from __future__ import annotations

import json

import pytest
import torch

from napari_attnseg.inference import DeviceError, choose_device, choose_precision, describe_device
from napari_attnseg.inference import device as device_module


def test_the_description_is_json() -> None:
    described = describe_device()

    assert json.loads(json.dumps(described)) == described
    assert described["cores"] >= 1
    assert described["memory_bytes"] > 2**20
    assert described["torch"] == torch.__version__


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=r"no device|not there"):
        choose_device(name)


def test_half_precision_is_chosen_only_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")

    monkeypatch.setattr(device_module, "_cpu_flags", lambda: {"avx2"})
    assert choose_precision(cpu) == "float32"

    monkeypatch.setattr(device_module, "_cpu_flags", lambda: {"avx2", "avx512_bf16"})
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert choose_precision(cpu) == ("bfloat16" if supported else "float32")


def test_a_precision_that_is_asked_for_is_used() -> None:
    assert choose_precision(torch.device("cpu"), "bfloat16") == "bfloat16"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_chosen_and_computes_in_half_precision() -> None:
    assert choose_device().type == "cuda"
    assert choose_precision(torch.device("cuda")) in ("bfloat16", "float16")

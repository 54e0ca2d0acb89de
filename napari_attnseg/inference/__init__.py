"""Use a trained network: load a run, slide it over a volume, bring the mask back to its grid."""

from __future__ import annotations

from napari_attnseg.inference.device import (
    DeviceError,
    choose_device,
    choose_precision,
    describe_device,
)
from napari_attnseg.inference.predict import InputError, Prediction, predict, predict_steps
from napari_attnseg.inference.run import (
    Run,
    RunError,
    load_run,
    save_run_files,
    save_weights_atomic,
    write_json_atomic,
)
from napari_attnseg.inference.sliding import WindowReport, sliding_window
from napari_attnseg.inference.window import WindowPlan, plan_windows

__all__ = [
    "DeviceError",
    "InputError",
    "Prediction",
    "Run",
    "RunError",
    "WindowPlan",
    "WindowReport",
    "choose_device",
    "choose_precision",
    "describe_device",
    "load_run",
    "plan_windows",
    "predict",
    "predict_steps",
    "save_run_files",
    "save_weights_atomic",
    "sliding_window",
    "write_json_atomic",
]

"""A runner of jobs that does what a test tells it, instead of starting child processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]

CATALOGUE = {
    "backbones": [
        {
            "name": "unet3d",
            "title": "3D U-Net",
            "summary": "Çiçek 2016.",
            "dims": [2, 3],
            "sites": ["encoder", "skip", "decoder"],
            "presets": [{"name": "tiny", "summary": "", "dims": 3}],
        }
    ],
    "attentions": [
        {
            "name": "none",
            "title": "None",
            "summary": "",
            "dims": [2, 3],
            "sites": [],
            "default_sites": [],
        },
        {
            "name": "se",
            "title": "SE",
            "summary": "Hu 2018.",
            "dims": [2, 3],
            "sites": ["encoder", "decoder"],
            "default_sites": ["encoder"],
        },
        {
            "name": "slice",
            "title": "Slice",
            "summary": "",
            "dims": [3],
            "sites": ["encoder"],
            "default_sites": ["encoder"],
        },
        {
            "name": "odd",
            "title": "Odd",
            "summary": "",
            "dims": [3],
            "sites": ["head"],
            "default_sites": ["head"],
        },
    ],
    "networks": [],
    "pairs": [
        {"backbone": "unet3d", "attention": name, "dims": dims, "sites": sites, "reason": reason}
        for name, sites, reason in (
            ("none", [], None),
            ("se", ["encoder", "decoder"], "SE does not suit skip."),
            ("odd", [], "Odd needs a head, which 3D U-Net lacks."),
        )
        for dims in (2, 3)
    ]
    + [
        {
            "backbone": "unet3d",
            "attention": "slice",
            "dims": 3,
            "sites": ["encoder"],
            "reason": None,
        },
        {
            "backbone": "unet3d",
            "attention": "slice",
            "dims": 2,
            "sites": [],
            "reason": "Slice attention works on volumes only.",
        },
    ],
}

DESCRIPTION = {
    "parameters": 1_234_567,
    "layers": ["encoder0", "bottleneck", "decoder0"],
    "levels": [
        {
            "name": "encoder0",
            "channels": 16,
            "stride_dhw": [1, 1, 1],
            "receptive_field_dhw": [5, 5, 5],
            "attention": ["encoder0.se"],
        },
        {
            "name": "bottleneck",
            "channels": 32,
            "stride_dhw": [2, 2, 2],
            "receptive_field_dhw": [14, 14, 14],
            "attention": [],
        },
        {
            "name": "decoder0",
            "channels": 16,
            "stride_dhw": [1, 1, 1],
            "receptive_field_dhw": [18, 18, 18],
            "attention": [],
        },
    ],
}

CHOICES = {
    "losses": [
        {"name": "dice-ce", "title": "dice-ce", "summary": "Dice plus cross-entropy."},
        {"name": "odd-loss", "title": "odd-loss", "summary": "A loss that was just added."},
    ],
    "methods": [
        {"name": "hires-cam", "title": "HiResCAM", "summary": "Activation times gradient."},
        {"name": "odd-cam", "title": "OddCAM", "summary": "A method that was just added."},
    ],
}

DEVICE = {"name": "Test CPU", "device": "cpu", "cores": 2, "precision": "float32"}


class FakeHandle:
    """A job that a test drives."""

    def __init__(self, kind: str, settings: dict[str, Any], tell: Callable[[Event], None]) -> None:
        self.kind, self.settings, self.tell = kind, settings, tell
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True
        self.tell({"event": "state", "state": "STOPPING"})

    def send(self, event: str, **values: Any) -> None:
        self.tell({"event": event, **values})

    def finish(self, state: str = "DONE", **result: Any) -> None:
        if state == "DONE" or result:
            self.tell({"event": "result", **result})
        self.tell({"event": "state", "state": state})


class FakeRunner:
    """Answers small questions at once and lets the test drive the rest."""

    def __init__(self) -> None:
        self.jobs: list[FakeHandle] = []
        self.is_closed = self.is_detached = False

    def start(
        self, kind: str, settings: dict[str, Any], on_event: Callable[[Event], None]
    ) -> FakeHandle:
        handle = FakeHandle(kind, settings, on_event)
        self.jobs.append(handle)
        on_event({"event": "state", "state": "RUNNING"})
        answers = {
            "models": CATALOGUE,
            "describe_model": DESCRIPTION,
            "device": DEVICE,
            "choices": CHOICES,
        }
        if kind in answers:
            handle.finish(**answers[kind])
        return handle

    def detach(self) -> None:
        self.is_detached = True

    def close(self) -> None:
        self.is_closed = True

    def last(self, kind: str) -> FakeHandle:
        return [job for job in self.jobs if job.kind == kind][-1]

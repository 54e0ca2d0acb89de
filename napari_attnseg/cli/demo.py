"""``attnseg demo``: the whole job on built-in phantom cases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_attnseg import __version__
from napari_attnseg.cli.app import app, note, print_line
from napari_attnseg.cli.engine import run_job
from napari_attnseg.cli.screen import has_display, virtual_screen
from napari_attnseg.jobs.inputs import JobError

CASES = 12
MINUTES = 2.5
MODEL = {"backbone": "unet3d", "attention": "cbam", "preset": "tiny"}
# Many small steps: a few minutes of a laptop's CPU must be enough to see organs.
TRAIN = {"patch_size": [24, 32, 40], "batch_size": 2}
PARTS = ("cases", "project", "masks", "maps", "screenshots", "dice.csv", "summary.json")
SCREENSHOT_SECONDS = 240

_MARK = ".attnseg-demo"


@app.command()
def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything.")] = Path(
        "attnseg-demo"
    ),
    minutes: Annotated[float, typer.Option(min=0.05, help="Of training.")] = MINUTES,
) -> None:
    """Make phantom cases, train, segment, explain, evaluate, and show the result."""
    shows_window = has_display() and not headless
    _prepare(out)
    done = Demo(out, minutes)
    done.make_cases()
    done.train()
    done.segment()
    done.explain()
    done.evaluate()
    done.take_screenshots()
    done.summarise()
    print_line(f"Everything is in {out}: {', '.join(sorted(one.name for one in _visible(out)))}.")
    if shows_window:
        note("Opening napari with the result; close its window to end.")
        from napari_attnseg.gui.app import open_window

        open_window([done.project_path])


@dataclass
class Demo:
    """The steps of the demonstration and what each one leaves.

    Args:
        out: Folder for everything.
        minutes: Wall time of the training.
    """

    out: Path
    minutes: float
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    run: Path = Path()

    @property
    def project_path(self) -> Path:
        """Folder of the project."""
        return self.out / "project"

    def make_cases(self) -> None:
        """Make phantoms, and a project of them."""
        from napari_attnseg.cohort.phantoms import write_phantoms
        from napari_attnseg.cohort.project import Project

        with self._step("cases", f"Making {CASES} phantom cases"):
            cohort = write_phantoms(self.out / "cases", cases=CASES)
            project = Project.create(self.project_path, cohort)
        learned, checked = len(project.training_cases()), len(project.validation_cases())
        note(f"{learned} cases to learn from, {checked} to check on.")

    def train(self) -> None:
        """Train a network."""
        settings = {
            "project": str(self.project_path),
            "model": MODEL,
            "train": {**TRAIN, "minutes": self.minutes},
        }
        with self._step("training", f"Training for {self.minutes:g} minutes"):
            result = run_job("train", settings, "Training")
        from napari_attnseg.cohort.project import Project

        self.run = Path(Project.open(self.project_path).run_dir(Path(str(result["run"])).name))
        if result.get("state") == "stopped":
            note("The training was stopped; going on with what it reached.")

    def segment(self) -> None:
        """Segment the validation cases."""
        from napari_attnseg.cohort.project import Project

        predictions = Path(Project.open(self.project_path).predictions_dir(self.run.name))
        settings = {
            "run": str(self.run),
            "inputs": self._validation(),
            "out": str(predictions),
            "overwrite": True,
        }
        with self._step("segmentation", "Segmenting the validation cases"):
            run_job("predict", settings, "Segmenting")
        masks = self.out / "masks"
        masks.mkdir(exist_ok=True)
        for mask in sorted(predictions.glob("*.nii.gz")):
            shutil.copy2(mask, masks / mask.name)

    def explain(self) -> None:
        """Write a class activation map of each class, and the attention, for one case."""
        from napari_attnseg.cohort.project import Project

        classes = list(Project.open(self.project_path).classes)
        shared = {
            "run": str(self.run),
            "input": self._validation()[0],
            "out": str(self.out / "maps"),
            "overwrite": True,
        }
        with self._step("explanation", "Looking at what the network looked at"):
            for value in classes:
                job = {**shared, "target": value, "attention": False}
                run_job("explain", job, "Explaining")
            run_job("explain", {**shared, "target": None, "attention": True}, "Attention")

    def evaluate(self) -> None:
        """Score the masks."""
        from napari_attnseg.cli.evaluate import print_table
        from napari_attnseg.cohort.project import Project
        from napari_attnseg.evaluation import evaluate

        project = Project.open(self.project_path)
        references = Path(str(project.validation_cases()[0].label)).parent
        with self._step("evaluation", "Comparing masks with references"):
            result = evaluate(self.out / "masks", references, classes=project.classes)
            result.to_csv(self.out / "dice.csv")
        print_table(result)
        names = result.classes
        self.facts["dice"] = {name: result.mean(value)["dice"] for value, name in names.items()}
        self.facts["cases"] = [case.case for case in result.cases]

    def take_screenshots(self) -> None:
        """Have the window photographed by a process of its own."""
        folder = self.out / "screenshots"
        folder.mkdir(exist_ok=True)
        with self._step("screenshots", "Taking screenshots"), _screen() as environment:
            reason = _photograph(self.out, environment)
        if reason:
            note(f"No screenshots: {reason}")
        self.facts["screenshots"] = sorted(one.name for one in folder.glob("*.png"))

    def summarise(self) -> None:
        """Write ``summary.json``."""
        document = {
            "version": __version__,
            "run": self.run.name,
            "model": MODEL,
            **self.facts,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "total_seconds": round(sum(self.seconds.values()), 1),
            "note": "For research use only, not a medical device.",
        }
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        (self.out / "summary.json").write_text(text + "\n", encoding="utf-8")

    def _validation(self) -> list[dict[str, Any]]:
        from napari_attnseg.cohort.project import Project

        cases = Project.open(self.project_path).validation_cases()
        return [
            {"name": case.name, "images": {key: str(path) for key, path in case.images.items()}}
            for case in cases
        ]

    @contextmanager
    def _step(self, name: str, text: str) -> Iterator[None]:
        note(f"[{len(self.seconds) + 1}/6] {text} ...")
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def _screen() -> Any:
    """Return a screen that disturbs nobody, the real one, or none."""
    if sys.platform.startswith("linux"):
        return virtual_screen()
    return nullcontext({})


def _photograph(out: Path, environment: dict[str, str] | None) -> str | None:
    """Take the screenshots; returns why there are none."""
    if environment is None:
        return "there is no display and no Xvfb; install it (apt install xvfb) to get them."
    code = (
        "import sys; from napari_attnseg.gui.demo import screenshots; screenshots(*sys.argv[1:])"
    )
    folders = [str((out / name).resolve()) for name in ("screenshots", "project")]
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *folders],
            env=environment or None,
            capture_output=True,
            text=True,
            timeout=SCREENSHOT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the window took more than {SCREENSHOT_SECONDS} seconds."
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"the window could not be shown here ({last})."


def _prepare(out: Path) -> None:
    """Make the folder, or empty it of an earlier demonstration.

    Raises:
        JobError: If it holds something else.
    """
    if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
        raise JobError(f"{out} holds other things; choose a new folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()
    for name in PARTS:
        part = out / name
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def _visible(out: Path) -> list[Path]:
    return [one for one in out.iterdir() if not one.name.startswith(".")]

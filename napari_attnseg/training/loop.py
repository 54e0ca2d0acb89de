"""The training loop: step, validate now and then, keep what was reached."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from napari_attnseg.axes import Size
from napari_attnseg.config import TrainConfig
from napari_attnseg.preprocessing import Plan
from napari_attnseg.training.batches import Batch, BatchStream
from napari_attnseg.training.cases import PreparedCase, TrainingError
from napari_attnseg.training.folder import RunFolder
from napari_attnseg.training.learner import Learner, Outcome
from napari_attnseg.training.memory import is_out_of_memory, lower_memory
from napari_attnseg.training.progress import Progress
from napari_attnseg.training.reports import (
    CaseDice,
    CheckpointReport,
    PreviewReport,
    Report,
    StepReport,
    ValidationReport,
    WarningReport,
    class_means,
    mean_of,
)
from napari_attnseg.training.schedule import Schedule
from napari_attnseg.training.validation import cheap_dice, predicted_channels, preview_of

VALIDATIONS = 20
"""Validations in a training, if they are cheap."""

VALIDATION_SHARE = 0.03
"""Part of the time that validations may take."""

CHECKPOINT_SECONDS = (15.0, 60.0)
"""Least time between checkpoints at the end of epochs, and most time between any two."""

FAILURES_BEFORE_RESCUE = 3
MOST_RESCUES = 4


@dataclass
class Training:
    """One run while it is being trained.

    Args:
        learner: Network and optimiser.
        schedule: Length and learning rate.
        train: Settings.
        plan: Plan of the run.
        values: Class values, ascending.
        folder: Where everything is kept.
        checked: Cases of the validations in between; may be none.
        make_batches: From batch size and patch size to what makes the batch of a step.
        extras: What else goes into the resume file.
        progress: Where the training stands.
        workers: Threads that make batches.
    """

    learner: Learner
    schedule: Schedule
    train: TrainConfig
    plan: Plan
    values: list[int]
    folder: RunFolder
    checked: list[PreparedCase]
    make_batches: Callable[[int, Size], Callable[[int], Batch]]
    extras: dict[str, Any]
    progress: Progress
    workers: int = 1
    _mark: float = field(default=0.0, init=False)
    _saved_at: float = field(default=0.0, init=False)

    def run(self, should_stop: Callable[[], bool]) -> Generator[Report, None, str]:
        """Train until the time is up or someone asks to stop; return how it ended.

        Returns:
            ``"done"`` or ``"stopped"``.

        Raises:
            TrainingError: If the loss stays broken, memory does not suffice, or files cannot be
                written.
        """
        self._mark = self._saved_at = time.perf_counter()
        yield self.save()
        if self.progress.validated_step < self.progress.step and self._is_validation_due():
            # Stopped in the middle of this validation; the uninterrupted run made it.
            yield from self._validate(should_stop)
        state = None
        while state is None:
            state = yield from self._until_memory_fails(should_stop)
        if state == "done" and self.progress.validated_step < self.progress.step:
            yield from self._validate(should_stop)
        yield self.save()
        return state

    def save(self) -> CheckpointReport:
        """Write the last weights and the resume file."""
        self.folder.save_weights("last", self.learner.averaged.values)
        if not self.checked or self.progress.best_score is None:
            self.progress.best_epoch = self.progress.epoch
            self.folder.save_weights("weights", self.learner.averaged.values)
        state = {
            **self.extras,
            "learner": self.learner.state(),
            "progress": dataclasses.asdict(self.progress),
        }
        path = self.folder.save_resume(state)
        self._saved_at = time.perf_counter()
        return CheckpointReport(self.progress.epoch, path)

    def _until_memory_fails(
        self, should_stop: Callable[[], bool]
    ) -> Generator[Report, None, str | None]:
        try:
            with self._stream() as stream:
                return (yield from self._steps(stream, should_stop))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, where the failed step no longer holds its tensors.
        yield lower_memory(self.progress, self.learner.model.size_multiple)
        return None

    def _steps(
        self, stream: BatchStream, should_stop: Callable[[], bool]
    ) -> Generator[Report, None, str]:
        while not self._is_over():
            if should_stop():
                return "stopped"
            batch = stream.take()
            rate, done = self._rate(), self._done()
            number = self.progress.step
            outcome = self.learner.step(batch, number=number, rate=rate, progress=done)
            self.progress.step += 1
            yield self._note(self._report(outcome, rate))
            warning = self._judge(outcome)
            if warning is not None:
                yield warning
            if self._is_validation_due():
                yield from self._validate(should_stop)
                yield self.save()
            elif self._is_checkpoint_due():
                yield self.save()
        return "done"

    def _stream(self) -> BatchStream:
        progress = self.progress
        make = self.make_batches(progress.batch_size, progress.patch_size)
        return BatchStream(make, first_step=progress.step, workers=self.workers)

    def _rate(self) -> float:
        progress = self.progress
        rate = self.schedule.rate(progress.step, progress.elapsed_seconds)
        return rate * progress.rate_factor

    def _is_over(self) -> bool:
        progress = self.progress
        patience = self.train.patience
        if patience is not None and progress.without_progress >= patience:
            return True
        return self._done() >= 1

    def _done(self) -> float:
        return self.schedule.progress(self.progress.step, self.progress.elapsed_seconds)

    def _pass_time(self) -> float:
        """Add the time since the last call to the elapsed time, and return it."""
        now = time.perf_counter()
        passed, self._mark = now - self._mark, now
        self.progress.elapsed_seconds += passed
        return passed

    def _report(self, outcome: Outcome, rate: float) -> StepReport:
        seconds, progress = self._pass_time(), self.progress
        return StepReport(
            step=progress.step,
            epoch=progress.epoch,
            loss=outcome.loss,
            parts=outcome.parts,
            learning_rate=rate,
            progress=self._done(),
            seconds=seconds,
            eta_seconds=self.schedule.seconds_left(progress.step, progress.elapsed_seconds),
        )

    def _note(self, report: Report) -> Report:
        self.folder.note(report)
        return report

    def _judge(self, outcome: Outcome) -> WarningReport | None:
        """Deal with a step whose loss or gradient was not finite."""
        progress = self.progress
        # With a scaler gradients overflow now and then, which lowers its scale; losses never do.
        is_overflow = self.learner.scaler.is_enabled() and math.isfinite(outcome.loss)
        if outcome.is_applied or is_overflow:
            progress.failures = 0
            return None
        progress.failures += 1
        if progress.failures < FAILURES_BEFORE_RESCUE:
            return WarningReport(f"The loss of step {progress.step} is not finite; it is skipped.")
        if progress.rescues >= MOST_RESCUES:
            raise TrainingError(
                "The loss is not finite, even at a much lower learning rate. Check the images for "
                "extreme values, or train with float32 and a lower learning rate."
            )
        progress.failures = 0
        progress.rescues += 1
        progress.rate_factor /= 4
        self.learner.start_over_from_average()
        return WarningReport(
            "The loss is not finite. The weights are set back to their average, and the learning "
            "rate is lowered to a quarter."
        )

    def _is_validation_due(self) -> bool:
        progress, train = self.progress, self.train
        if not self.checked:
            return False
        every = train.validate_every
        if every is None and train.minutes is None:
            epochs = train.epochs or (train.steps or 1) // progress.steps_per_epoch
            every = max(1, epochs // VALIDATIONS)
        if every is not None:
            return progress.is_epoch_end and progress.epoch % every == 0
        waited = progress.elapsed_seconds - progress.validated_seconds
        total = self.schedule.total_seconds or 0.0
        return waited >= max(total / VALIDATIONS, progress.validation_cost / VALIDATION_SHARE)

    def _is_checkpoint_due(self) -> bool:
        waited = time.perf_counter() - self._saved_at
        is_first = self.progress.step == self.progress.steps_per_epoch
        soon, late = CHECKPOINT_SECONDS
        at_end = self.progress.is_epoch_end and (is_first or waited >= soon)
        return at_end or waited >= late

    def _validate(self, should_stop: Callable[[], bool]) -> Generator[Report, None, None]:
        if not self.checked:
            return
        began = time.perf_counter()
        found: dict[str, dict[int, float | None]] = {}
        with self.learner.averaged.used_by(self.learner.model):
            for case in self.checked:
                if should_stop():
                    return
                predicted = predicted_channels(self.learner, case, self.plan)
                found[case.name] = cheap_dice(predicted, case, self.values)
                if case is self.checked[0]:
                    path = self.folder.save_preview(preview_of(case, predicted))
                    yield PreviewReport(case.name, path)
                if self._is_too_dear(time.perf_counter() - began):
                    break
        yield self._note(self._validated(found, time.perf_counter() - began))

    def _validated(self, found: CaseDice, seconds: float) -> ValidationReport:
        progress = self.progress
        # Scores can only be compared over the same cases.
        self.checked = self.checked[: len(found)]
        progress.checked_cases = len(found)
        is_best = self._rank(found)
        self._pass_time()
        progress.validation_cost = seconds
        progress.validated_step = progress.step
        progress.validated_seconds = progress.elapsed_seconds
        means = class_means(found)
        return ValidationReport(progress.epoch, means, found, is_best, False, seconds)

    def _is_too_dear(self, seconds: float) -> bool:
        total = self.schedule.total_seconds
        return total is not None and seconds > total * VALIDATION_SHARE / 2

    def _rank(self, found: CaseDice) -> bool:
        """Keep the averaged weights if they are the best so far, and return whether they are."""
        progress = self.progress
        score = mean_of(class_means(found).values()) or 0.0
        if progress.best_score is not None and score < progress.best_score:
            progress.without_progress += 1
            return False
        is_better = progress.best_score is None or score > progress.best_score
        progress.without_progress = 0 if is_better else progress.without_progress + 1
        progress.best_score, progress.best_epoch = score, progress.epoch
        self.folder.save_weights("weights", self.learner.averaged.values)
        return True

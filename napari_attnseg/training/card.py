"""The model card: what a run is and how good it is, for people."""

from __future__ import annotations

from napari_attnseg import __version__
from napari_attnseg.training.reports import RunResult, class_means
from napari_attnseg.training.task import FitTask


def model_card(task: FitTask, result: RunResult, *, parameters: int) -> str:
    """Return the card in Markdown; it names no folder and no person.

    Args:
        task: What was learned.
        result: How it ended.
        parameters: Trainable parameters of the network.
    """
    model, split = task.model, task.split
    attention = "no attention" if model.attention == "none" else model.attention
    minutes = result.seconds / 60
    lines = [
        f"# Run {result.run}",
        "",
        f"{model.backbone} with {attention}, {model.dims}-D, {parameters:,} parameters. "
        "For research use, not a medical device.",
        "",
        "## Training",
        f"- Learned from {len(split['train'])} cases, checked on {len(split['val'])}.",
        f"- Images of a case: {', '.join(task.channels)}.",
        f"- Loss {task.train.loss}, {result.steps} steps in {minutes:.1f} minutes, seed "
        f"{task.train.seed}; kept the weights of epoch {result.best_epoch} ({result.state}).",
        f"- Made with napari-attnseg {__version__}.",
    ]
    if task.start is not None:
        lines.append(f"- Went on from run {task.start.id}.")
    return "\n".join([*lines, "", *_dice_table(task, result), ""])


def _dice_table(task: FitTask, result: RunResult) -> list[str]:
    if not result.validation:
        classes = ", ".join(task.classes[value] for value in task.values)
        return [f"## Classes\n{classes}. Not measured on validation cases."]
    after = class_means(result.validation)
    before = class_means(result.before or {})
    head = "| class | Dice |" if result.before is None else "| class | Dice before | Dice |"
    rows = ["## Dice on the validation cases", head, "|---" * (head.count("|") - 1) + "|"]
    for value in task.values:
        cells = [after] if result.before is None else [before, after]
        numbers = " | ".join(_rounded(one.get(value)) for one in cells)
        rows.append(f"| {task.classes[value]} | {numbers} |")
    return rows


def _rounded(dice: float | None) -> str:
    return "-" if dice is None else f"{dice:.3f}"

"""``attnseg evaluate``: compare masks with references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_attnseg.cli.app import Json, Overwrite, app, note, print_json, print_line

if TYPE_CHECKING:
    from napari_attnseg.evaluation import Evaluation

REPORTS = (".html", ".htm", ".md", ".markdown")


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="A mask, or a folder of masks.")],
    reference: Annotated[Path, typer.Argument(help="A mask, or a folder of masks.")],
    csv: Annotated[Path | None, typer.Option(help="Write one row a case and class.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report, .html or .md.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Score masks: Dice, IoU and volumes of each case and class."""
    from napari_attnseg import evaluation
    from napari_attnseg.jobs.inputs import require_new_files, require_writable

    if report is not None and report.suffix.lower() not in REPORTS:
        raise typer.BadParameter(f"--report is one of *{', *'.join(REPORTS)}; found {report}")
    files = [file for file in (csv, report) if file is not None]
    require_new_files(files, overwrite=overwrite)
    for file in files:
        require_writable(file.parent)
    result = evaluation.evaluate(prediction, reference)
    if csv is not None:
        result.to_csv(csv)
    if report is not None:
        evaluation.write_report(result, report)
    for text in result.warnings:
        note(f"Warning: {text}")
    if as_json:
        print_json(result.to_json())
    else:
        print_table(result)


def print_table(result: Evaluation) -> None:
    """Print the scores as a table, one row a case."""
    names = result.classes
    width = max([len(case.case) for case in result.cases] + [4])
    columns = [max(len(name), 6) for name in names.values()]
    head = zip(names.values(), columns, strict=True)
    print_line(f"{'case':{width}}  " + "  ".join(f"{name:>{wide}}" for name, wide in head))
    for case in result.cases:
        scores = [case.classes[value].dice for value in names]
        print_line(f"{case.case:{width}}  {_row(scores, columns)}")
    means = [result.mean(value)["dice"] for value in names]
    print_line(f"{'mean':{width}}  {_row(means, columns)}")
    if result.unmatched:
        note(f"{len(result.unmatched)} references have no prediction.")


def _row(scores: list[float | None], columns: list[int]) -> str:
    texts = ["-" if score is None else f"{score:.4f}" for score in scores]
    return "  ".join(f"{text:>{wide}}" for text, wide in zip(texts, columns, strict=True))

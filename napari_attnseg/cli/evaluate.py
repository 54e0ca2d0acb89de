"""``attnseg evaluate``: compare masks with references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_attnseg.cli.app import Json, Overwrite, app, note, print_json, print_line

if TYPE_CHECKING:
    from napari_attnseg.evaluation import Evaluation
    from napari_attnseg.io.regions import Regions

REPORTS = (".html", ".htm", ".md", ".markdown")


@app.command()
def evaluate(  # noqa: PLR0913 - each option of the command is an argument
    prediction: Annotated[Path, typer.Argument(help="A mask, or a folder of masks.")],
    reference: Annotated[Path, typer.Argument(help="A mask, or a folder of masks.")],
    csv: Annotated[Path | None, typer.Option(help="Write one row a case and class.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report, .html or .md.")] = None,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", metavar="NAME=VALUES", help="Also score a region: WT=1,2,4."),
    ] = None,
    project: Annotated[
        Path | None, typer.Option(help="Score the classes and regions of a project.")
    ] = None,
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
    classes, regions = _asked(project, region or [])
    result = evaluation.evaluate(prediction, reference, classes=classes, regions=regions)
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


def _asked(project: Path | None, texts: list[str]) -> tuple[dict[int, str] | None, Regions]:
    """Return the classes and regions to score, from a project and from the command line."""
    from napari_attnseg.cohort import Project
    from napari_attnseg.io.regions import Regions

    opened = Project.open(project) if project is not None else None
    members = dict(opened.regions.members) if opened else {}
    for text in texts:
        name, equals, values = text.partition("=")
        numbers = [one.strip() for one in values.split(",")]
        if not equals or not all(one.isdecimal() for one in numbers):
            raise typer.BadParameter(f"--region is a name and values, as in WT=1,2,4; not {text}")
        members[name.strip()] = frozenset(map(int, numbers))
    return opened.classes if opened else None, Regions(members)


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
    for name, one in result.region_means.items():
        print_line(f"{name:{width}}  {_row([one['dice']], [6])}  region, mean")
    if result.unmatched:
        note(f"{len(result.unmatched)} references have no prediction.")


def _row(scores: list[float | None], columns: list[int]) -> str:
    texts = ["-" if score is None else f"{score:.4f}" for score in scores]
    return "  ".join(f"{text:>{wide}}" for text, wide in zip(texts, columns, strict=True))

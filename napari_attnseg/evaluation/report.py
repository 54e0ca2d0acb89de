"""One page that shows an evaluation to a person: HTML that stands alone, or Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from html import escape
from pathlib import Path
from statistics import stdev

from napari_attnseg import __version__
from napari_attnseg.evaluation.scores import CaseScore, ClassScore, Evaluation
from napari_attnseg.io import atomic_write

NOTICE = "For research use, not a medical device."

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1d2733; background: #fff; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #9aa7b5; }
.note { color: #5b6876; } svg { vertical-align: middle; }
@media (prefers-color-scheme: dark) { body { color: #dbe2ea; background: #14191f; }
  th, td { border-color: #303a45; } }
"""


def write_report(evaluation: Evaluation, path: str | Path, *, title: str = "Evaluation") -> Path:
    """Write a report: Markdown where the name ends in ``.md``, else one HTML page.

    Cases stand worst first, because those are the ones to look at.
    """
    path = Path(path)
    is_markdown = path.suffix.lower() in (".md", ".markdown")
    text = _markdown(evaluation, title) if is_markdown else _html(evaluation, title)
    with atomic_write(path) as file:
        file.write(text.encode())
    return path


def _html(evaluation: Evaluation, title: str) -> str:
    means = "".join(
        f"<tr>{_cells(row)}<td>{_strip(dice)}</td></tr>" for dice, row in _mean_rows(evaluation)
    )
    cases = "".join(f"<tr>{_cells(row)}</tr>" for row in _case_rows(evaluation))
    notes = "".join(f"<p class='note'>{escape(one)}</p>" for one in _notes(evaluation))
    head = _header([*_MEAN_HEAD, "each case, 0 to 1"])
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}"
        f"</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p class='note'>{_line_of_facts(evaluation)}</p>"
        f"<h2>Classes</h2><table>{head}<tbody>{means}</tbody></table>"
        f"<h2>Cases, worst first</h2><table>{_header(_case_head(evaluation))}"
        f"<tbody>{cases}</tbody></table>{notes}<p class='note'>{NOTICE}</p></body></html>\n"
    )


def _markdown(evaluation: Evaluation, title: str) -> str:
    means = _markdown_table(_MEAN_HEAD, [row for _, row in _mean_rows(evaluation)])
    cases = _markdown_table(_case_head(evaluation), _case_rows(evaluation))
    parts = [f"# {title}", _line_of_facts(evaluation), "## Classes", means]
    parts += ["## Cases, worst first", cases, *_notes(evaluation), NOTICE]
    return "\n\n".join(parts) + "\n"


_MEAN_HEAD = ["class", "cases", "Dice, mean ± SD", "worst", "IoU, mean"]


def _mean_rows(evaluation: Evaluation) -> list[tuple[list[float], list[str]]]:
    """Return each class's and region's Dice in the cases that have it, and its row."""
    rows = [
        (_named(name, value), evaluation.scores(value), evaluation.mean(value))
        for value, name in evaluation.classes.items()
    ]
    rows += [
        (f"region {name}", evaluation.region_scores(name), means)
        for name, means in evaluation.region_means.items()
    ]
    return [(dice, [title, *_summary(dice, means)]) for title, dice, means in rows]


def _named(name: str, value: int) -> str:
    return name if name.endswith(str(value)) else f"{name} ({value})"


def _summary(dice: list[float], means: Mapping[str, float | None]) -> list[str]:
    spread = f" ± {stdev(dice):.3f}" if len(dice) > 1 else ""
    mean = _number(means["dice"]) + (spread if dice else "")
    return [str(len(dice)), mean, _number(min(dice, default=None)), _number(means["iou"])]


def _case_head(evaluation: Evaluation) -> list[str]:
    columns = [f"{name}: {what}" for name in evaluation.classes.values() for what in _PER_CLASS]
    return ["case", *columns]


_PER_CLASS = ("Dice", "mL", "difference")


def _case_rows(evaluation: Evaluation) -> list[list[str]]:
    rows = []
    for case in sorted(evaluation.cases, key=_worst):
        cells = [case.case]
        for value in evaluation.classes:
            cells += _class_cells(case.classes.get(value))
        rows.append(cells)
    return rows


def _worst(case: CaseScore) -> float:
    return 2.0 if case.dice is None else case.dice


def _class_cells(score: ClassScore | None) -> list[str]:
    if score is None:
        return ["–"] * len(_PER_CLASS)
    change = "–"
    if score.reference_ml > 0:
        change = f"{100 * (score.volume_ml / score.reference_ml - 1):+.0f} %"
    return [_number(score.dice), f"{score.volume_ml:.3g}", change]


def _notes(evaluation: Evaluation) -> list[str]:
    notes = list(evaluation.warnings)
    if evaluation.unmatched:
        count = len(evaluation.unmatched)
        who = "1 reference has" if count == 1 else f"{count} references have"
        notes.append(f"{who} no prediction: {', '.join(evaluation.unmatched)}.")
    return notes


def _line_of_facts(evaluation: Evaluation) -> str:
    count = len(evaluation.cases)
    cases = f"{count} case{'' if count == 1 else 's'}"
    return f"{cases}, {date.today().isoformat()}, napari-attnseg {__version__}"


def _strip(scores: list[float]) -> str:
    """Draw each score as a dot on a line from 0 to 1."""
    dots = "".join(
        f"<circle cx='{4 + 152 * score:.1f}' cy='9' r='3' fill='#2b7bba' fill-opacity='.5'/>"
        for score in scores
    )
    line = "<line x1='4' x2='156' y1='9' y2='9' stroke='#9aa7b5'/>"
    return f"<svg width='160' height='18' role='img' aria-label='scores'>{line}{dots}</svg>"


def _header(names: list[str]) -> str:
    return "<thead><tr>" + "".join(f"<th>{escape(one)}</th>" for one in names) + "</tr></thead>"


def _cells(row: list[str]) -> str:
    return "".join(f"<td>{escape(one)}</td>" for one in row)


def _markdown_table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(one.replace("|", "\\|") for one in row) + " |" for row in lines
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

"""How a comparison of networks is written down: as text, CSV, Markdown and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from napari_attnseg.evaluation.compare import Row, Trial
from napari_attnseg.io import atomic_write

NOTICE = "For research use, not a medical device."
TEST = (
    "Difference: mean over the cases of their mean Dice, against the same backbone and loss "
    "without attention. p: Wilcoxon's signed-rank test over the n cases, each case's score being "
    "its mean over the seeds, corrected for all tests of the table after Holm."
)


def table(rows: Sequence[Row], classes: Mapping[int, str]) -> list[list[str]]:
    """Return the cells of the table, the first list being its head."""
    has_losses = len({row.loss for row in rows}) > 1
    values = sorted({value for row in rows for value in row.means})
    head = ["backbone", "attention", *(["loss"] if has_losses else [])]
    head += [classes.get(value, str(value)) for value in values]
    head += ["mean", "SD of seeds", "difference", "n", "p (Holm)", "parameters", "s"]
    cells = [head]
    for row in rows:
        line = [row.backbone, row.attention, *([row.loss] if has_losses else [])]
        line += [_number(row.means.get(value)) for value in values]
        line += [_number(row.dice), _number(row.spread), *_tested(row)]
        cells.append([*line, f"{row.parameters:,}", f"{row.seconds:.0f}"])
    return cells


def as_text(cells: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = cells[0].index("attention") + 1 + ("loss" in cells[0])
    lines = []
    for line in cells:
        parts = [
            one.ljust(width) if at < words else one.rjust(width)
            for at, (one, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def write_table(path: str | Path, rows: Sequence[Row], classes: Mapping[int, str]) -> Path:
    """Write one row for each network as CSV; what does not exist stays empty."""
    values = sorted({value for row in rows for value in row.means})
    named = [f"dice_{value}_{classes.get(value, value)}" for value in values]
    head = ["backbone", "attention", "loss", "seeds", *named, "dice", "spread", *_TEST_COLUMNS]
    lines: list[list[object]] = [[*head, "parameters", "seconds"]]
    for row in rows:
        scores = [row.means.get(value) for value in values]
        test = [getattr(row.test, name, None) for name in _TEST_COLUMNS]
        choice = [row.backbone, row.attention, row.loss, " ".join(map(str, row.seeds))]
        last = [row.dice, row.spread, *test, row.parameters, round(row.seconds, 1)]
        lines.append([*choice, *scores, *last])
    return _write_csv(path, lines)


def write_cases(path: str | Path, trials: Sequence[Trial]) -> Path:
    """Write one row for each network, seed, case and class as CSV."""
    lines: list[list[object]] = [
        ["backbone", "attention", "loss", "seed", "case", "class", "dice"]
    ]
    for trial in trials:
        for case, dice in trial.cases.items():
            lines += [[*trial.choice, trial.seed, case, *one] for one in dice.items()]
    return _write_csv(path, lines)


def write_comparison_report(
    path: str | Path,
    rows: Sequence[Row],
    classes: Mapping[int, str],
    *,
    title: str,
    facts: Sequence[str],
) -> Path:
    """Write a report: Markdown where the name ends in ``.md``, else one HTML page.

    Args:
        path: The file.
        rows: Of the table.
        classes: Names by class value.
        title: Of the page.
        facts: Sentences on what was the same for all networks, and on what is missing.
    """
    path = Path(path)
    cells = table(rows, classes)
    is_markdown = path.suffix.lower() in (".md", ".markdown")
    text = _markdown(cells, title, facts) if is_markdown else _html(cells, title, facts)
    with atomic_write(path) as file:
        file.write(text.encode())
    return path


def _markdown(cells: Sequence[Sequence[str]], title: str, facts: Sequence[str]) -> str:
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    rows = "\n".join(
        "| " + " | ".join(one.replace("|", "\\|") for one in row) + " |" for row in lines
    )
    return "\n\n".join([f"# {title}", *facts, rows, TEST, NOTICE]) + "\n"


def _html(cells: Sequence[Sequence[str]], title: str, facts: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in cells[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(one)}</td>" for one in row) + "</tr>" for row in cells[1:]
    )
    notes = "".join(f"<p>{escape(one)}</p>" for one in facts)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}"
        f"</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{notes}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p class='note'>{escape(TEST)}</p><p class='note'>{NOTICE}</p></body></html>\n"
    )


def _tested(row: Row) -> list[str]:
    test = row.test
    if test is None or test.difference is None:
        return ["", "", ""]
    return [f"{test.difference:+.4f}", str(test.cases), _p(test.p_holm)]


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _write_csv(path: str | Path, lines: Sequence[Sequence[object]]) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
    return Path(path)


_TEST_COLUMNS = ("against", "cases", "better", "worse", "difference", "p", "p_holm")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1d2733; background: #fff; }
h1 { font-size: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
.note { color: #5b6876; }
@media (prefers-color-scheme: dark) { body { color: #dbe2ea; background: #14191f; }
  th, td { border-color: #303a45; } }
"""

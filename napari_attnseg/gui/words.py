"""Numbers in the words of the window."""

from __future__ import annotations


def time_left(seconds: float | None) -> str:
    """Return a duration as ``4 min left``, or an empty string if it is not known."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 60:
        return f"{max(1, round(seconds))} s left"
    if seconds < 3600:
        return f"{round(seconds / 60)} min left"
    return f"{int(seconds // 3600)} h {round(seconds % 3600 / 60)} min left"


def dice(value: float | None) -> str:
    """Return a Dice with two decimals, or a dash."""
    return "–" if value is None else f"{value:.2f}"


def millilitres(value: float | None) -> str:
    """Return a volume in mL with two significant decimals, or a dash."""
    if value is None:
        return "–"
    return f"{value:.1f} mL" if value >= 1 else f"{value:.2f} mL"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 case`` or ``3 cases``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def sizes(values: tuple[float, ...]) -> str:
    """Return numbers such as ``1 x 1 x 5``."""
    return " x ".join(f"{value:.3g}" for value in values)

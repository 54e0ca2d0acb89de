"""A heading that unfolds what is needed rarely."""

from __future__ import annotations

from superqt import QCollapsible


def fold(title: str) -> QCollapsible:
    """Return a folded part of a panel; widgets are added with ``addWidget``."""
    made = QCollapsible(title, expandedIcon="▾", collapsedIcon="▸")
    made.setDuration(0)
    made.toggleButton().setStyleSheet("text-align: left; border: none; background: transparent;")
    layout = made.layout()
    if layout is not None:
        layout.setContentsMargins(0, 0, 0, 0)
    return made

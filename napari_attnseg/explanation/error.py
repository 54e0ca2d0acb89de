"""What is said where there is nothing to show."""

from __future__ import annotations


class ExplainError(ValueError):
    """Something that cannot be explained as asked; the message says why and what to do."""


class NotSuitedError(ExplainError):
    """A method that makes no sense for this network, layer or target; the message says why."""

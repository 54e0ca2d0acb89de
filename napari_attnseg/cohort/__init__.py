"""Cases and cohorts, the layouts they come in, and the project that keeps track of them."""

from __future__ import annotations

from napari_attnseg.cohort.case import Case, Cohort
from napari_attnseg.cohort.layout import LAYOUTS, LayoutError, recognise
from napari_attnseg.cohort.ledger import ProjectError
from napari_attnseg.cohort.project import Project, ProjectCase

__all__ = [
    "LAYOUTS",
    "Case",
    "Cohort",
    "LayoutError",
    "Project",
    "ProjectCase",
    "ProjectError",
    "recognise",
]

"""What goes on in a workbench, without a window: project, cases, model, jobs, results."""

from napari_attnseg.session.background import Background, deliver_now
from napari_attnseg.session.files import CaseRow
from napari_attnseg.session.open_case import OpenCase
from napari_attnseg.session.problem import Problem
from napari_attnseg.session.session import Session
from napari_attnseg.session.work import Work, WorkList

__all__ = [
    "Background",
    "CaseRow",
    "OpenCase",
    "Problem",
    "Session",
    "Work",
    "WorkList",
    "deliver_now",
]

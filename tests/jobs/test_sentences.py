"""Errors in words."""

from __future__ import annotations

import errno

import pytest

from napari_attnseg.jobs import explain_error
from napari_attnseg.jobs.inputs import JobError
from napari_attnseg.jobs.sentences import explain_death, is_disk_full


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_an_error_of_this_program_keeps_its_own_words() -> None:
    trouble = explain_error(JobError("The image FLAIR is missing."))

    assert trouble.text == "The image FLAIR is missing."


def test_a_missing_library_names_what_installs_it() -> None:
    trouble = explain_error(ModuleNotFoundError("No module named 'x'", name="x"))

    assert "pip install x" in trouble.next_step


def test_a_file_that_cannot_be_written_is_named() -> None:
    trouble = explain_error(PermissionError(errno.EACCES, "Permission denied", "/project"))

    assert trouble.text == "/project: Permission denied."


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("PytorchStreamWriter failed writing file data/3"),
        caused(ValueError("could not save"), OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_full_disk_is_known_in_all_its_forms(error: Exception) -> None:
    assert is_disk_full(error)


def test_a_child_that_ends_without_a_word_has_its_status_in_the_sentence() -> None:
    trouble = explain_death(7, "predict", "the log")

    assert "exit status 7" in trouble.text
    assert trouble.details == "the log"

from __future__ import annotations

from napari_attnseg.threads import sharing_processor


def test_a_computing_process_is_told_to_spin_little() -> None:
    environment = sharing_processor({"HOME": "/home/me"})

    assert environment["HOME"] == "/home/me"
    assert int(environment["GOMP_SPINCOUNT"]) <= 1000


def test_what_the_user_has_set_stays() -> None:
    environment = sharing_processor({"GOMP_SPINCOUNT": "7"})

    assert environment["GOMP_SPINCOUNT"] == "7"

from __future__ import annotations

from pathlib import Path

import pytest

from napari_attnseg.models import counts
from napari_attnseg.models.counts import KnownCounts


def never() -> int:
    raise AssertionError("counted again")


def test_what_was_counted_once_is_not_counted_again(tmp_path: Path) -> None:
    first = KnownCounts(tmp_path)
    assert first.get("unet", lambda: 7) == 7
    first.save()

    assert KnownCounts(tmp_path).get("unet", never) == 7


def test_other_code_is_counted_anew_and_old_counts_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = KnownCounts(tmp_path)
    first.get("unet", lambda: 7)
    first.save()
    monkeypatch.setattr(counts, "code_hash", lambda: "other")

    second = KnownCounts(tmp_path)

    assert second.get("unet", lambda: 8) == 8
    second.save()
    assert [one.name for one in tmp_path.iterdir()] == ["other.json"]


@pytest.mark.parametrize("content", ["no JSON", "[1, 2]", '{"unet": "seven"}'])
def test_a_damaged_file_of_counts_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{counts.code_hash()}.json").write_text(content)

    assert KnownCounts(tmp_path).get("unet", lambda: 7) == 7


def test_counts_that_cannot_be_kept_are_counted_all_the_same(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    known = KnownCounts(place)

    assert known.get("unet", lambda: 7) == 7
    known.save()

"""Public data sets that can be fetched by name: the ten tasks of the Decathlon.

Antonelli et al., "The Medical Segmentation Decathlon" (Nature Communications 13:4128, 2022),
medicaldecathlon.com, CC-BY-SA 4.0. The addresses are those of the copy that MONAI uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from napari_attnseg.io.archive import unpacking_archive
from napari_attnseg.io.download import ShouldStop, Steps, downloading, never
from napari_attnseg.registry import UnknownPartError

ADDRESS = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
LICENCE = "CC-BY-SA 4.0"
SOURCE = "The Medical Segmentation Decathlon, doi.org/10.1038/s41467-022-30695-9"


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Args:
        name: By which it is asked for.
        folder: In the archive, and of the archive.
        md5: Of the archive.
        gigabytes: To download, about.
        content: In words.
    """

    name: str
    folder: str
    md5: str
    gigabytes: float
    content: str

    @property
    def url(self) -> str:
        """Where the archive lies."""
        return f"{ADDRESS}/{self.folder}.tar"


DATA_SETS = tuple(
    DataSet(*one)
    for one in (
        ("brain-tumour", "Task01_BrainTumour", "240a19d752f0d9e9101544901065d872", 7.1,
         "MRI of four kinds; oedema, tumour that enhances and that does not"),
        ("heart", "Task02_Heart", "06ee59366e1e5124267b774dbd654057", 0.43,
         "MRI; left atrium"),
        ("liver", "Task03_Liver", "a90ec6c4aa7f6a3d087205e23d4e6397", 27.0,
         "CT; liver and tumours"),
        ("hippocampus", "Task04_Hippocampus", "9d24dba78a72977dbd1d2e110310f31b", 0.03,
         "MRI, small crops; anterior and posterior hippocampus"),
        ("prostate", "Task05_Prostate", "35138f08b1efaef89d7424d2bcc928db", 0.23,
         "MRI of two kinds; peripheral and transition zone"),
        ("lung", "Task06_Lung", "8afd997733c7fc0432f71255ba4e52dc", 8.5,
         "CT; tumours"),
        ("pancreas", "Task07_Pancreas", "4f7080cfca169fa8066d17ce6eb061e4", 11.5,
         "CT; pancreas and tumours"),
        ("hepatic-vessel", "Task08_HepaticVessel", "641d79e80ec66453921d997fbf12a29c", 8.7,
         "CT; vessels of the liver and tumours"),
        ("spleen", "Task09_Spleen", "410d4a301da4e5b2f6f86ec3ddba524e", 1.5,
         "CT; spleen"),
        ("colon", "Task10_Colon", "bad7a188931dc2f6acf72b08eb6202d0", 5.8,
         "CT; primaries of cancer of the colon"),
    )
)  # fmt: skip


def data_set(name: str) -> DataSet:
    """Return the data set of a name, of the folder in its archive, or of its number.

    Raises:
        UnknownPartError: If there is none; the message names the closest one.
    """
    wanted = _plain(name)
    for one in DATA_SETS:
        number = one.folder.partition("_")[0]
        if wanted in {_plain(text) for text in (one.name, one.folder, number)}:
            return one
    raise UnknownPartError("data set", name, [one.name for one in DATA_SETS])


def fetching(wanted: DataSet, folder: Path, should_stop: ShouldStop = never) -> Steps:
    """Download and unpack a data set into a folder, unless it is there.

    The archive is removed once all of it is unpacked.

    Args:
        wanted: The data set.
        folder: Where its own folder is made.
        should_stop: Asked after each step; the next call goes on from there.

    Returns:
        Whether it is there; False if it was stopped.

    Raises:
        DataError: If it cannot be had; the message says why and what to do.
    """
    if (folder / wanted.folder).is_dir():
        return True
    archive = folder / f"{wanted.folder}.tar"
    if not (yield from downloading(wanted.url, archive, wanted.md5, should_stop)):
        return False
    if not (yield from unpacking_archive(archive, wanted.folder, folder, should_stop)):
        return False
    archive.unlink()
    return True


def _plain(name: str) -> str:
    # Of one disease there are two spellings.
    return re.sub(r"[^a-z0-9]", "", name.lower()).replace("tumor", "tumour")

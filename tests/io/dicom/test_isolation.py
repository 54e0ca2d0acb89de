"""A decoder that crashes, hangs or asks for too much ends its own process, and is told of."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError, decoder, isolation, pictures
from napari_attnseg.io.dicom import codecs
from napari_attnseg.io.isolation import DecoderCrashError, DecoderProcess

SCRIPT = f"""
import ctypes, sys, time
sys.path.insert(0, {os.path.dirname(decoder.__file__)!r})
import decoder

def crash(request, content):
    ctypes.string_at(0)

def echo(request, content):
    import numpy as np
    print("noise on stdout")
    values = np.frombuffer(content, "<i2").reshape(request["shape"])
    return {{"shape": values.shape, "dtype": "<i2"}}, values.reshape(-1).view("u1")

decoder.DECODERS.update(
    crash=crash, echo=echo, hang=lambda *_: time.sleep(60),
    fail=lambda *_: 1 / 0, eat=lambda *_: ({{}}, bytes(3 << 30)),
)
decoder._main()
"""


@pytest.fixture
def process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    made = DecoderProcess(script, seconds=5)
    yield made
    made.stop()


def echo(process, values):
    request = {"decoder": "echo", "shape": values.shape}
    return process.ask(request, values.astype("<i2").tobytes())[1]


@pytest.mark.parametrize("shape", [(3, 5, 7), (0, 4, 2), (40, 300, 200)])
def test_an_array_comes_back_as_it_went(process, shape, voxels):
    values = voxels(shape, "int16")

    assert np.array_equal(echo(process, values), values)


def test_what_came_back_can_be_changed_in_place(process):
    back = echo(process, np.arange(6).reshape(2, 3))
    back[0, 0] = 7

    assert back.tolist() == [[7, 1, 2], [3, 4, 5]]


def test_one_process_answers_many_questions(process):
    echo(process, np.ones((2, 2)))
    first = process._process.pid

    for _ in range(20):
        echo(process, np.ones((2, 2)))

    assert process._process.pid == first


def test_a_crash_is_told_and_the_next_question_is_answered(process):
    with pytest.raises(DecoderCrashError):
        process.ask({"decoder": "crash"})

    assert echo(process, np.eye(3)).sum() == 3


def test_a_process_that_was_ended_between_questions_is_started_again(process):
    echo(process, np.eye(3))
    process._process.kill()

    assert echo(process, np.eye(3)).sum() == 3


def test_a_decoder_that_hangs_is_ended(tmp_path, process):
    script = tmp_path / "script.py"
    quick = DecoderProcess(script, seconds=2)
    start = time.perf_counter()

    with pytest.raises(DecoderCrashError):
        quick.ask({"decoder": "hang"})

    assert time.perf_counter() - start < 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bounds the memory")
@pytest.mark.parametrize(("name", "word"), [("fail", "division"), ("eat", "")])
def test_an_error_of_a_decoder_is_an_answer(process, name, word):
    answer, values = process.ask({"decoder": name})

    assert values is None
    assert word in answer["error"]


def test_several_threads_get_each_their_own_answer(process):
    wrong = []

    def ask(number):
        for _ in range(20):
            values = np.full((3, 4), number)
            if not np.array_equal(echo(process, values), values):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert not wrong


def test_a_stopped_process_leaves_no_folder(process):
    echo(process, np.eye(3))
    folder = process._folder
    assert os.path.isdir(folder)

    process.stop()

    assert not os.path.exists(folder)


def test_reading_pixels_loads_no_native_decoder_into_this_process(tmp_path, write_jpeg_2000):
    write_jpeg_2000(tmp_path / "scan")
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "one.png")
    code = (
        "import sys; from napari_attnseg import read_volume\n"
        f"read_volume({str(tmp_path / 'scan')!r}); read_volume({str(tmp_path / 'one.png')!r})\n"
        "print({'SimpleITK', 'PIL.PngImagePlugin'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.strip() == "set()", done.stderr


@pytest.fixture
def write_jpeg_2000(write_series):
    def write(folder):
        values = (np.indices((3, 20, 30)).sum(axis=0) * 3).astype(np.uint8)

        def change(dataset, k):
            file = io.BytesIO()
            Image.fromarray(values[k]).save(file, "JPEG2000", no_jp2=True)
            dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
            dataset.PixelData = encapsulate([file.getvalue()])
            dataset["PixelData"].is_undefined_length = True

        write_series(folder, values, change=change)
        return values

    return write


def test_a_crash_in_a_dicom_decoder_is_a_sentence(tmp_path, monkeypatch, process, write_jpeg_2000):
    write_jpeg_2000(tmp_path / "scan")
    monkeypatch.setattr(codecs, "DECODERS", Renamed(process, "crash"))

    with pytest.raises(VolumeError, match=r"'IM0000' is probably damaged: .* crashed\. Copy"):
        read_volume(tmp_path / "scan")


def test_a_crash_in_the_decoder_of_pictures_is_a_sentence(tmp_path, monkeypatch, process):
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "one.png")
    monkeypatch.setattr(pictures, "DECODERS", Renamed(process, "crash"))

    with pytest.raises(VolumeError, match=r"'one.png' is probably damaged: .* crashed on it"):
        read_volume(tmp_path / "one.png")


def test_a_crash_of_the_shared_process_harms_no_later_reading(tmp_path, write_jpeg_2000):
    values = write_jpeg_2000(tmp_path / "scan")
    read_volume(tmp_path / "scan")
    isolation.DECODERS._process.kill()

    assert np.array_equal(read_volume(tmp_path / "scan").data[0], values)


class Renamed:
    """Asks another decoder than it is told to."""

    def __init__(self, process, name):
        self.process, self.name = process, name

    def ask(self, request, *rest):
        return self.process.ask({**request, "decoder": self.name}, *rest)

"""Data come whole, by the hash that was asked for, or not at all; a cut is gone on with."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import importlib.util
import io
import os
import shutil
import socket
import tarfile
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from napari_attnseg.io import public_data
from napari_attnseg.io.archive import unpacking_archive
from napari_attnseg.io.download import DataError, downloading
from napari_attnseg.registry import UnknownPartError

CONTENT = os.urandom(5_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
NAME = "Task04_Hippocampus"
KINDS = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
Disk = namedtuple("Disk", "total used free")


class Server(http.server.ThreadingHTTPServer):
    """Gives ``content``; what it does wrong is set by a test."""

    daemon_threads = True
    content = CONTENT
    cut_after: int | None = None
    cuts = 10**9
    knows_ranges = True
    status = 200
    asked: list[str | None]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}.tar"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted[6:].rstrip("-")) if wanted and server.knows_ranges else 0
        if server.status != 200:
            self.send_error(server.status)
            return
        if start >= len(server.content) > 0 and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            size = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        rest = server.content[start:]
        if server.cut_after is not None and server.cuts > 0:
            server.cuts -= 1
            rest = rest[: server.cut_after]
        self.wfile.write(rest)
        self.close_connection = True


@pytest.fixture
def server():
    made = Server(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


def run(steps):
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return told, end.value


def test_a_file_comes_whole_with_progress(server, tmp_path):
    told, is_there = run(downloading(server.url, tmp_path / "deep" / "a.tar", MD5))

    assert is_there
    assert (tmp_path / "deep" / "a.tar").read_bytes() == CONTENT
    assert (told[-1].done, told[-1].total) == (len(CONTENT), len(CONTENT))
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert os.listdir(tmp_path / "deep") == ["a.tar"]


def test_a_cut_connection_is_taken_up_where_it_was_cut(server, tmp_path):
    server.cut_after, server.cuts = 2_000_000, 2

    run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert (tmp_path / "a.tar").read_bytes() == CONTENT
    assert server.asked[0] is None
    assert len(server.asked) == 3
    assert all(one.startswith("bytes=") for one in server.asked[1:])


def test_a_connection_that_gives_nothing_more_is_told_of_and_what_came_stays(server, tmp_path):
    server.content = CONTENT
    part = tmp_path / "a.tar.part"
    part.write_bytes(CONTENT[:3_000_000])
    server.cut_after = 0

    with pytest.raises(DataError, match=r"broke after 3.0 MB; run the same command again"):
        run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert part.read_bytes() == CONTENT[:3_000_000]


def test_a_later_call_goes_on_with_what_an_earlier_one_began(server, tmp_path):
    steps = downloading(server.url, tmp_path / "a.tar", MD5, should_stop=lambda: True)
    _, is_there = run(steps)
    assert not is_there
    begun = (tmp_path / "a.tar.part").stat().st_size
    assert 0 < begun < len(CONTENT)

    run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert server.asked == [None, f"bytes={begun}-"]
    assert (tmp_path / "a.tar").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_gives_all_of_it_again(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:3_000_000])

    run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert (tmp_path / "a.tar").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_taken(server, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(CONTENT)

    run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert (tmp_path / "a.tar").read_bytes() == CONTENT


@pytest.mark.parametrize("beginning", [b"of another file" * 100, CONTENT + b"and more"])
def test_a_part_of_another_file_is_fetched_anew(server, tmp_path, beginning):
    (tmp_path / "a.tar.part").write_bytes(beginning)

    run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert (tmp_path / "a.tar").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_removed(server, tmp_path):
    server.content = b"<html>Please log in to the hospital's network</html>"

    with pytest.raises(DataError, match=r"is not the file that was asked for .* was removed"):
        run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert not os.listdir(tmp_path)


def test_a_wrong_file_that_was_there_before_is_refused_and_stays(server, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"mine")

    with pytest.raises(DataError, match="is another file"):
        run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert (tmp_path / "a.tar").read_bytes() == b"mine"
    assert not server.asked


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)

    _, is_there = run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert is_there
    assert not server.asked


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_server_that_refuses_is_quoted(server, tmp_path, status):
    server.status = status

    with pytest.raises(DataError, match=f"it answers {status}"):
        run(downloading(server.url, tmp_path / "a.tar", MD5))


def test_no_connection_is_a_sentence(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(DataError, match=r"127.0.0.1:\d+ cannot be reached .* check the conn"):
        run(downloading(f"http://127.0.0.1:{port}/a.tar", tmp_path / "a.tar", MD5))


def test_too_small_a_disk_is_told_before_anything_comes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(10**7, 4 * 10**6, 6 * 10**6))

    with pytest.raises(
        DataError, match=r"need 0\.01 GB while they are unpacked, and only 0\.01 GB"
    ):
        run(downloading(server.url, tmp_path / "a.tar", MD5))

    assert not os.listdir(tmp_path)


def archive_of(path, members):
    with tarfile.open(path, "w") as file:
        for name, what in members.items():
            member = tarfile.TarInfo(name)
            if what not in KINDS:
                member.size = len(what)
                file.addfile(member, io.BytesIO(what))
            else:
                member.type, member.linkname = what, "/etc/passwd"
                file.addfile(member)
    return path


def test_an_archive_is_unpacked_without_what_is_hidden(tmp_path):
    members = {
        NAME: tarfile.DIRTYPE,
        f"{NAME}/dataset.json": b"{}",
        f"{NAME}/._dataset.json": b"left by macOS",
        f"{NAME}/imagesTr/a.nii.gz": b"voxels",
        "elsewhere/b": b"no part of it",
    }
    path = archive_of(tmp_path / "a.tar", members)

    told, is_there = run(unpacking_archive(path, NAME, tmp_path))

    found = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert is_there
    assert found == [f"{NAME}/dataset.json", f"{NAME}/imagesTr/a.nii.gz", "a.tar"]
    assert told[-1].what == "unpacking"


@pytest.mark.parametrize(
    ("name", "what", "reason"),
    [
        ("../escaped", b"x", "leads out of its folder"),
        (f"{NAME}/../../escaped", b"x", "leads out of its folder"),
        ("/tmp/escaped", b"x", "leads out of its folder"),
        (f"{NAME}\\..\\escaped", b"x", "leads out of its folder"),
        ("C:escaped", b"x", "is none for a file"),
        (f"{NAME}/link", tarfile.SYMTYPE, "is a link"),
        (f"{NAME}/link", tarfile.LNKTYPE, "is a link"),
        (f"{NAME}/device", tarfile.CHRTYPE, "is a link or a device"),
        (f"{NAME}/pipe", tarfile.FIFOTYPE, "is a link or a device"),
        ("other/file", b"x", "holds no folder"),
    ],
)
def test_an_archive_that_would_reach_elsewhere_is_refused_whole(tmp_path, name, what, reason):
    inner = tmp_path / "inner"
    inner.mkdir()
    members = {f"{NAME}/first": b"good"} if "holds no" not in reason else {}
    path = archive_of(inner / "a.tar", {**members, name: what})

    with pytest.raises(DataError, match=reason):
        run(unpacking_archive(path, NAME, inner))

    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.tar", "inner"]


def test_an_archive_cut_off_or_packed_is_refused_and_leaves_nothing(tmp_path):
    path = archive_of(tmp_path / "a.tar", {f"{NAME}/a": bytes(50_000)})
    whole = path.read_bytes()
    for content in (whole[:20_000], b"", b"\x1f\x8b\x08" + whole, os.urandom(20_000)):
        path.write_bytes(content)

        with pytest.raises(DataError, match=r"'a\.tar' is damaged"):
            run(unpacking_archive(path, NAME, tmp_path))

        assert os.listdir(tmp_path) == ["a.tar"]


def test_unpacking_can_be_stopped_and_leaves_nothing(tmp_path):
    path = archive_of(tmp_path / "a.tar", {f"{NAME}/a": bytes(5_000_000)})

    _, is_there = run(unpacking_archive(path, NAME, tmp_path, should_stop=lambda: True))

    assert not is_there
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("name", ["hippocampus", "Hippocampus", "Task04_Hippocampus", "task04"])
def test_a_data_set_is_known_by_several_names(name):
    assert public_data.data_set(name).folder == "Task04_Hippocampus"


def test_an_unknown_name_is_answered_with_the_closest():
    with pytest.raises(UnknownPartError, match="Did you mean 'hippocampus'"):
        public_data.data_set("hippocamus")


def test_addresses_and_hashes_are_those_of_monai():
    monai = importlib.util.find_spec("monai")
    # Importing it takes long; its source tells as much.
    source = (Path(monai.origin).parent / "apps" / "datasets.py").read_text()

    assert len(public_data.DATA_SETS) == 10
    for one in public_data.DATA_SETS:
        assert f'"{one.folder}": "{one.url}"' in source
        assert f'"{one.folder}": "{one.md5}"' in source


def test_a_data_set_is_fetched_unpacked_and_not_fetched_twice(server, tmp_path, monkeypatch):
    source = archive_of(tmp_path / "source.tar", {f"{NAME}/dataset.json": b"{}"})
    server.content = source.read_bytes()
    monkeypatch.setattr(public_data, "ADDRESS", server.url.rpartition("/")[0])
    wanted = dataclasses.replace(
        public_data.data_set("hippocampus"), md5=hashlib.md5(server.content).hexdigest()
    )

    for _ in range(2):
        assert run(public_data.fetching(wanted, tmp_path / "out"))[1]

    assert len(server.asked) == 1
    assert os.listdir(tmp_path / "out") == [NAME]
    assert (tmp_path / "out" / NAME / "dataset.json").read_bytes() == b"{}"


def test_the_command_fetches_and_tells_what_comes_next(server, tmp_path, monkeypatch, capsys):
    from napari_attnseg.cli import data as command
    from napari_attnseg.cli import main

    source = archive_of(tmp_path / "source.tar", {f"{NAME}/dataset.json": b"{}"})
    server.content = source.read_bytes()
    monkeypatch.setattr(public_data, "ADDRESS", server.url.rpartition("/")[0])
    wanted = dataclasses.replace(
        public_data.data_set("hippocampus"), md5=hashlib.md5(server.content).hexdigest()
    )
    monkeypatch.setattr(command, "data_set", lambda name: wanted)

    status = main(["data", "hippocampus", "--out", str(tmp_path / "out")])

    told = capsys.readouterr()
    assert status == 0
    assert told.out.strip() == str(tmp_path / "out" / NAME)
    assert f"attnseg project hippocampus-project --cases {tmp_path / 'out' / NAME}" in told.err


def test_the_command_refuses_a_wrong_file_with_a_sentence(server, tmp_path, monkeypatch, capsys):
    from napari_attnseg.cli import main

    monkeypatch.setattr(public_data, "ADDRESS", server.url.rpartition("/")[0])

    status = main(["data", "hippocampus", "--out", str(tmp_path / "out")])

    told = capsys.readouterr()
    assert status == 1
    assert told.err.startswith("attnseg: What came from http")
    assert not told.out
    assert not os.listdir(tmp_path / "out")

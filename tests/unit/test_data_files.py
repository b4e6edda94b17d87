"""Data files on a real disk: their names, and that nothing outside their folder is reached."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayjobs.errors import BadDataFileName, NoSuchDataFile
from rayjobs.store.blobs import Upload
from rayjobs.store.data_files import DataFile, DataFiles, check_prefix

TIME = datetime(2016, 7, 4, 9, 9, 57, 928000, UTC)


@pytest.fixture
def data_files(tmp_path: Path) -> DataFiles:
    return DataFiles(tmp_path / "data")


def an_upload(tmp_path: Path, content: bytes = b"content", name: str = "upload") -> Upload:
    upload = Upload(tmp_path / name)
    upload.path.touch()
    upload.append(0, content)
    return upload


def kept(data_files: DataFiles, tmp_path: Path, prefix: str = "words", content: bytes = b"content") -> str:
    return data_files.keep(an_upload(tmp_path, content), prefix, TIME)


# Names


@pytest.mark.parametrize(
    "prefix", ["words", "test.txt", ".hidden", "a..b", "a b", "ünï-✓", "%2F", "-", "x" * 150, "é" * 75, "$(rm) `x`"]
)
def test_prefixes_that_can_begin_a_files_name_are_taken(data_files, tmp_path, prefix):
    path = kept(data_files, tmp_path, prefix)
    assert path == f"{tmp_path}/data/{prefix}-2016-07-04T09_09_57.928Z.dat"
    assert data_files.paths() == [path]
    assert data_files.read(path, 0, 100) == b"content"


@pytest.mark.parametrize(
    "prefix",
    [
        *("", ".", "..", "...", " ", ". ."),
        *("/", "a/b", "/etc/passwd", "../x", "a/../../x", "\\", "..\\x"),
        *("\0", "a\0b", "a\nb", "a\x7f", "a\x85b", "\udc80"),
        *("x" * 151, "é" * 76),
    ],
)
def test_other_prefixes_are_refused(data_files, tmp_path, prefix):
    with pytest.raises(BadDataFileName, match="a data file's name "):
        check_prefix(prefix)
    with pytest.raises(BadDataFileName):
        kept(data_files, tmp_path, prefix)
    assert data_files.paths() == []


def test_files_of_one_prefix_and_moment_have_names_of_their_own(data_files, tmp_path):
    uploads = [an_upload(tmp_path, b"%d" % n, str(n)) for n in range(20)]
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda upload: data_files.keep(upload, "words", TIME), uploads))
    assert sorted(paths) == data_files.paths() and len(set(paths)) == 20
    assert [data_files.read(path, 0, 10) for path in paths] == [b"%d" % n for n in range(20)]


def test_a_link_takes_no_name_away(data_files, tmp_path):
    target = tmp_path / "target"
    (tmp_path / "data" / "words-2016-07-04T09_09_57.928Z.dat").symlink_to(target)
    assert kept(data_files, tmp_path).endswith("57.929Z.dat")
    assert not target.exists()


def test_a_relative_folder_gives_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_files = DataFiles(Path("data"))
    path = kept(data_files, tmp_path)
    assert path.startswith(f"{tmp_path}/data/")
    monkeypatch.chdir("/")
    assert data_files.find(path) == DataFile(path, 7)


# What is found


def test_a_file_is_found_by_its_path_and_by_its_name(data_files, tmp_path):
    path = kept(data_files, tmp_path)
    assert data_files.find(path) == data_files.find(Path(path).name) == DataFile(path, 7)
    data_files.remove(Path(path).name)
    assert data_files.paths() == []


def test_an_empty_file_is_one(data_files, tmp_path):
    path = kept(data_files, tmp_path, content=b"")
    assert data_files.find(path) == DataFile(path, 0)
    assert data_files.read(path, 0, 10) == b""


@pytest.fixture
def outside(data_files, tmp_path) -> Path:
    """A file beside the folder, and links to it and to its folder inside."""
    outside = tmp_path / "outside"
    outside.write_text("secret")
    (tmp_path / "data" / "link").symlink_to(outside)
    (tmp_path / "data" / "folder").symlink_to(tmp_path)
    (tmp_path / "data" / "real-folder").mkdir()
    return outside


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "none", "link", "folder", "real-folder", "../outside", "folder/outside"),
        *("{data}", "{data}/", "{data}/.", "{data}/link", "{data}/../outside", "{data}/folder/outside"),
        *("{data}//link", "{outside}", "/etc/passwd", "{data}/{data}/x", "a\0b", "\udc80", "x" * 300, "x" * 5000),
    ],
)
def test_nothing_but_the_folders_own_files_is_found_read_or_removed(data_files, tmp_path, outside, name):
    name = name.format(data=tmp_path / "data", outside=outside)
    for attempt in (data_files.find, data_files.remove, lambda name: data_files.read(name, 0, 10)):
        with pytest.raises(NoSuchDataFile):
            attempt(name)
    assert data_files.paths() == []
    assert outside.read_text() == "secret"


def test_removing_all_leaves_links_and_folders_alone(data_files, tmp_path, outside):
    for _ in range(3):
        kept(data_files, tmp_path)
    data_files.remove_all()
    assert data_files.paths() == []
    assert outside.read_text() == "secret"
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"link", "folder", "real-folder"}

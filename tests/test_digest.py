import errno
import hashlib

import pytest

from gexsent import digest
from gexsent.errors import DataError


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "PACKAGE", tmp_path)
    digest.source_digest.cache_clear()
    (tmp_path / "part").mkdir()
    (tmp_path / "part/b.py").write_text("b = 1\n")
    (tmp_path / "a.py").write_text("a = 1\n")
    yield tmp_path
    digest.source_digest.cache_clear()


def fresh(*names):
    digest.source_digest.cache_clear()
    return digest.source_digest(*names)


def test_source_digest_is_sha256_over_names_and_contents(package):
    expected = hashlib.sha256(b"a.py" + b"a = 1\n" + b"part/b.py" + b"b = 1\n").hexdigest()
    assert digest.source_digest("a.py", "part") == expected


def test_source_digest_follows_code_and_nothing_else(package):
    before = fresh("a.py", "part")
    (package / "part/notes.txt").write_text("not code")
    (package / "other.py").write_text("not named")
    assert fresh("a.py", "part") == before
    (package / "part/c.py").write_text("")
    added = fresh("a.py", "part")
    (package / "part/c.py").rename(package / "part/d.py")
    renamed = fresh("a.py", "part")
    (package / "a.py").write_text("a = 2\n")
    assert len({before, added, renamed, fresh("a.py", "part")}) == 4


@pytest.fixture
def linked(package):
    """Modules of one folder that import each other, and one that nobody imports."""
    name = package.name
    sources = {
        "first": f"import os\nfrom {name}.part.second import x\nfrom {name}.other.far import y\n",
        "second": f"def f():\n    from {name}.part.third import z\n",
        "third": f"from {name}.part.first import w\nfrom {name}.errors import DataError\nfrom math import pi\n",
        "alone": "from elsewhere.part.second import x\n",
    }
    for module, source in sources.items():
        (package / f"part/{module}.py").write_text(source)
    digest.import_closure.cache_clear()
    yield package
    digest.import_closure.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first", ("first", "second", "third")),  # round in a circle, and inside a function
        ("third", ("first", "second", "third")),
        ("alone", ("alone",)),
        ("b", ("b",)),
    ],
)
def test_the_closure_of_imports_stays_in_its_folder(linked, name, expected):
    assert digest.import_closure(f"part/{name}.py") == tuple(f"part/{module}.py" for module in expected)


def test_the_closure_of_a_model_is_what_it_is_made_of():
    assert digest.import_closure("model/baselines.py") == (
        "model/baselines.py",
        "model/batch.py",
        "model/parts.py",
        "model/rows.py",
    )


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "new/folder/file"
    digest.write_atomically(path, b"one")
    digest.write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_half(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / "file.partial").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        digest.write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_explained_and_other_faults_are_left_alone(tmp_path):
    with (
        pytest.raises(DataError, match=f"{tmp_path}: the disk is full; make room"),
        digest.full_disk_explained(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), digest.full_disk_explained(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    with digest.full_disk_explained(tmp_path):
        pass

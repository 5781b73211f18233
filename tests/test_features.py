"""The feature store: ragged round trips, going on after a kill, and refusals."""

import errno
import hashlib
import json

import numpy as np
import pytest

from gexsent import features
from gexsent.errors import DataError
from gexsent.features import FeatureStore, Output, extract

WIDTH = 3
LENGTHS = {"a": 2, "b": 0, "c": 5, "d": 1, "e": 3, "f": 4, "g": 1}
IDS = list(LENGTHS)


def arrays(ids):
    """An array for each id, a function of the id alone."""
    return [np.random.default_rng(ord(id_)).normal(size=(LENGTHS[id_], WIDTH)) for id_ in ids]


class Recorder:
    """An encoder that remembers what it was asked for, and is killed at one sample."""

    def __init__(self, fatal=None):
        self.seen, self.fatal = [], fatal

    def __call__(self, ids):
        if self.fatal in ids:
            raise KeyboardInterrupt
        self.seen += ids
        return arrays(ids)


def store(folder, encode=arrays, **changes):
    settings = {"ids": IDS, "width": WIDTH, "fingerprint": "encoder", "shard_rows": 3} | changes
    output = Output(folder, settings.pop("width"), settings.pop("fingerprint"))
    return extract([output], settings.pop("ids"), lambda ids: [encode(ids)], **settings)[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_samples_come_back_as_they_went_in(tmp_path):
    made = store(tmp_path)
    assert made.ids == IDS
    assert made.lengths.tolist() == list(LENGTHS.values())
    for number, array in enumerate(arrays(IDS)):
        np.testing.assert_array_equal(made.row(number), array.astype(np.float16))
    values, offsets = made.load()
    np.testing.assert_array_equal(values, np.concatenate(arrays(IDS)).astype(np.float16))
    assert offsets.tolist() == [0, 2, 2, 7, 8, 11, 15, 16]


def test_shards_are_mapped_and_plain_numpy_reads_them(tmp_path):
    made = store(tmp_path)
    assert all(isinstance(shard, np.memmap) for shard in made.shards)
    assert isinstance(made.row(2).base, np.memmap)
    np.testing.assert_array_equal(
        np.load(tmp_path / "shard-00001.npy"), np.concatenate(arrays("def")).astype(np.float16)
    )


@pytest.mark.parametrize(("rows", "shards"), [(1, 7), (3, 3), (100, 1)])
def test_shard_rows_decides_the_number_of_shards_and_not_the_content(tmp_path, rows, shards):
    made = store(tmp_path, shard_rows=rows)
    assert len(list(tmp_path.glob("shard-*.npy"))) == shards
    np.testing.assert_array_equal(made.row(5), arrays("f")[0].astype(np.float16))


def test_label_names_the_progress_bar(tmp_path, capsys):
    store(tmp_path, label="words of mosi")
    assert "words of mosi" in capsys.readouterr().err


def test_a_store_without_samples_and_one_without_tokens(tmp_path):
    nobody = store(tmp_path / "nobody", ids=[])
    values, offsets = nobody.load()
    assert values.shape == (0, WIDTH)
    assert offsets.tolist() == [0]
    silent = store(tmp_path / "silent", lambda ids: [np.zeros((0, WIDTH))] * len(ids))
    assert silent.load()[0].shape == (0, WIDTH)
    assert silent.row(6).shape == (0, WIDTH)


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path):
    store(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "killed", Recorder(fatal="f"))
    with pytest.raises(DataError, match="no finished features"):
        FeatureStore.open(tmp_path / "killed")
    again = Recorder()
    store(tmp_path / "killed", again)
    assert again.seen == ["d", "e", "f", "g"]  # the first shard, a to c, was finished
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_finished_store_is_not_made_again(tmp_path):
    store(tmp_path)
    before, again = contents(tmp_path), Recorder()
    store(tmp_path, again)
    assert again.seen == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("change", [{"fingerprint": "another"}, {"ids": IDS[::-1]}, {"shard_rows": 2}])
def test_other_input_starts_over(tmp_path, change):
    store(tmp_path)
    again = Recorder()
    made = store(tmp_path, again, **change)
    assert again.seen == change.get("ids", IDS)
    assert made.fingerprint == change.get("fingerprint", "encoder")


def test_shards_left_from_a_longer_run_are_removed(tmp_path):
    store(tmp_path, shard_rows=1)
    store(tmp_path, ids=IDS[:2])
    assert sorted(contents(tmp_path)) == ["index.json", "shard-00000.npy"]


def test_a_damaged_shard_is_made_again_with_those_after_it(tmp_path):
    store(tmp_path)
    whole = contents(tmp_path)
    path = tmp_path / "shard-00001.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    again = Recorder()
    store(tmp_path, again)
    assert again.seen == ["d", "e", "f", "g"]
    assert contents(tmp_path) == whole


def test_a_changed_byte_is_found_when_asked_to_verify(tmp_path):
    store(tmp_path)
    path = tmp_path / "shard-00000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    FeatureStore.open(tmp_path)
    with pytest.raises(DataError, match=r"shard-00000\.npy: its bytes have changed"):
        FeatureStore.open(tmp_path, verify=True)


@pytest.mark.parametrize("kept", [0, 40, -3])
def test_a_shard_cut_short_is_refused_even_without_verifying(tmp_path, kept):
    store(tmp_path)
    path = tmp_path / "shard-00000.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"shard-00000\.npy: lacking or cut short; run the extract stage again"):
        FeatureStore.open(tmp_path)


def test_a_lacking_shard_or_one_of_another_shape_is_refused(tmp_path):
    store(tmp_path)
    np.save(tmp_path / "shard-00000.npy", np.zeros((1, WIDTH), np.float16))
    with pytest.raises(DataError, match=r"is not what index\.json says"):
        FeatureStore.open(tmp_path)
    (tmp_path / "shard-00000.npy").unlink()
    with pytest.raises(DataError, match="lacking or cut short"):
        FeatureStore.open(tmp_path)


def test_an_index_cut_short_is_refused(tmp_path):
    store(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(path.read_text()[:30])
    with pytest.raises(DataError, match="no finished features here; run the extract stage"):
        FeatureStore.open(tmp_path)


def test_a_store_half_replaced_by_another_is_not_taken_for_the_old_one(tmp_path):
    store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path, Recorder(fatal="f"), fingerprint="another")
    with pytest.raises(DataError, match="no finished features"):
        FeatureStore.open(tmp_path)


def test_a_disk_that_is_full_when_all_shards_are_written_says_so(tmp_path, monkeypatch):
    write = features.write_atomically

    def full(path, content):
        if path.name == "index.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(features, "write_atomically", full)
    with pytest.raises(DataError, match="the disk is full; make room there and run again"):
        store(tmp_path)
    monkeypatch.undo()
    again = Recorder()
    store(tmp_path, again)
    assert again.seen == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 70_000.0, -70_000.0])
def test_values_that_float16_cannot_hold_are_refused_with_the_id(tmp_path, value):
    def encode(ids):
        made = arrays(ids)
        if "e" in ids:
            made[list(ids).index("e")][1, 1] = value
        return made

    with pytest.raises(DataError, match="features of 'e': NaN, infinity, or a value beyond"):
        store(tmp_path, encode)


def test_the_largest_float16_is_kept(tmp_path):
    made = store(tmp_path, lambda ids: [np.full((1, WIDTH), 65_504.0)] * len(ids))
    assert (made.row(0) == 65_504).all()


@pytest.mark.parametrize("shape", [(2, WIDTH + 1), (WIDTH,), (1, 2, WIDTH)])
def test_an_array_of_another_shape_is_refused_with_the_id(tmp_path, shape):
    with pytest.raises(DataError, match=r"features of 'a': expected shape \(T, 3\)"):
        store(tmp_path, lambda ids: [np.zeros(shape)] * len(ids))


def test_an_encoder_that_loses_a_sample_is_refused(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        store(tmp_path, lambda ids: arrays(ids)[:-1])


def test_a_full_disk_keeps_finished_shards_and_says_so(tmp_path, monkeypatch):
    write = features.write_atomically

    def full(path, content):
        if path.name == "shard-00001.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    store(tmp_path / "whole")
    monkeypatch.setattr(features, "write_atomically", full)
    with pytest.raises(DataError, match="disk is full after 1 of 3 shards; make room and run again to go on"):
        store(tmp_path / "full")
    monkeypatch.undo()
    again = Recorder()
    store(tmp_path / "full", again)
    assert again.seen == ["d", "e", "f", "g"]
    assert contents(tmp_path / "full") == contents(tmp_path / "whole")


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_notes_of_an_earlier_run_that_are_no_mapping_count_for_nothing(tmp_path, content):
    (tmp_path / "unfinished.json").write_text(content)
    assert store(tmp_path).ids == IDS


def test_other_faults_of_the_disk_are_passed_on(tmp_path, monkeypatch):
    def refuse(path, content):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(features, "write_atomically", refuse)
    with pytest.raises(PermissionError):
        store(tmp_path)


def test_the_digest_follows_the_bytes_of_the_features(tmp_path):
    first = store(tmp_path / "first")
    assert store(tmp_path / "same", fingerprint="another").digest == first.digest
    assert store(tmp_path / "other", lambda ids: [a + 1 for a in arrays(ids)]).digest != first.digest


def test_the_index_holds_the_checksum_of_every_shard(tmp_path):
    store(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    for number, shard in enumerate(index["shards"]):
        content = (tmp_path / f"shard-{number:05d}.npy").read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()

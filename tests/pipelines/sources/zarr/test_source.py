"""ZarrSource: replay buffers in the layout of diffusion policy, whole or damaged."""

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from limited import episodes_of, open_anew, read_source, results_of
from zarr_files import write_replay, zarr, zipped

from gato_tokenize import Episode, ImageTokenizer
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.zarr import rows

opened = functools.partial(open_anew, "zarr")
results = functools.partial(results_of, "zarr")
episodes = functools.partial(episodes_of, "zarr")
BOUNDS = [(0, 3), (3, 4), (4, 10)]


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"zarr:{write_replay(folder / 'pusht.zarr')}"


class TestContractOfZip(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"zarr:{zipped(write_replay(folder / 'pusht.zarr', form=3))}"


class TestEpisodes:
    @pytest.mark.parametrize("form", [2, 3])
    @pytest.mark.parametrize("pack", [lambda path: path, zipped, lambda path: zipped(path, "replay_buffer.zarr/")])
    def test_every_value_is_that_of_zarr(self, tmp_path: Path, form: int, pack: Callable[[Path], Path]) -> None:
        folder = write_replay(tmp_path / "pusht.zarr", form=form, reward=np.arange(10.0)[:, None])
        data, path = zarr.open_group(folder, mode="r")["data"], pack(folder)
        for number, (one, (start, stop)) in enumerate(zip(episodes(path), BOUNDS, strict=True)):
            assert list(one.fields) == ["observation/img", "observation/state", "action"]
            for field, name in zip(one.fields, ("img", "state", "action"), strict=True):
                np.testing.assert_array_equal(np.stack(list(one.fields[field])), data[name][start:stop])
            np.testing.assert_array_equal(one.rewards, range(start, stop))
            named = one.metadata
            assert (named.episode_id, named.source_index) == (f"{path}#{number}", number)
            assert (named.task, named.domain, named.success) == ("pusht", "zarr", -1)
            assert not named.terminated and not named.truncated and not one.notes

    @pytest.mark.parametrize("form", [2, 3])
    @pytest.mark.parametrize("chunk", [1, 2, 7, 100])
    def test_an_episode_across_chunks(
        self, tmp_path: Path, form: int, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "BLOCK_BYTES", 40)
        path = write_replay(tmp_path / "a.zarr", (1, 2, 9, 10, 23), form, chunk)
        data = zarr.open_group(path, mode="r")["data"]
        np.testing.assert_array_equal(np.concatenate([e.fields["action"] for e in episodes(path)]), data["action"][:])
        assert [one.num_steps for one in episodes(path)] == [1, 1, 7, 1, 13]

    def test_a_chunk_is_unpacked_once_for_all_episodes_in_it(self, tmp_path: Path) -> None:
        """Once the first episode is read, the chunk is overwritten on the disk."""
        path = write_replay(tmp_path / "a.zarr", (2, 5, 9), chunk=100)
        expected = zarr.open_group(path, mode="r")["data/action"][:]
        (part,) = (source := opened(path)).partitions()
        found = [next(candidates := source.candidates(part)).load()]
        for name in ("action", "img", "state"):
            next((path / "data" / name).glob("0*")).write_bytes(b"")
        found += [candidate.load() for candidate in candidates]
        np.testing.assert_array_equal(np.concatenate([one.fields["action"] for one in found]), expected)

    def test_shards_of_format_3(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr", form=3, action=None)
        values = np.random.default_rng(1).uniform(-1, 1, (10, 2))
        data = zarr.open_group(path)["data"]
        data.create_array("action", data=values, chunks=(2, 1), shards=(4, 2))
        np.testing.assert_array_equal(np.concatenate([e.fields["action"] for e in episodes(path)]), values)
        os.remove(path / "data/action/c/1/0")
        assert [type(one) for one in results(path)] == [Episode, Episode, Reject]

    def test_floats_that_are_pixels(self, tmp_path: Path) -> None:
        """Diffusion policy's pusht_cchi_v7_replay.zarr holds its pictures so."""
        values = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3)).astype(np.float32)
        path = write_replay(tmp_path / "pusht.zarr", img=values)
        assert any("observation/img are whole numbers in [0, 255] and are taken for" in x for x in opened(path).notes())
        for one, (start, stop) in zip(episodes(path), BOUNDS, strict=True):
            assert one.fields["observation/img"][0].dtype == np.uint8
            np.testing.assert_array_equal(np.stack(one.fields["observation/img"]), values[start:stop])
        path = write_replay(path, (3, 4, 40), img=np.tile(values, (4, 1, 1, 1)))
        zarr.open_group(path)["data/img"][39, 0, 0, 0] = 0.5
        found = results(path)
        assert [type(one) for one in found] == [Episode, Episode, Reject] and "whole numbers" in found[2].message

    def test_resizing_while_reading_gives_the_patches_of_the_whole_picture(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr", side=48)
        one, *_ = episodes(path, "?resize=32x32")
        whole = zarr.open_group(path, mode="r")["data/img"][:3]
        assert one.notes == {"observation/img: image resized while it was read": 3}
        for picture, full in zip(one.fields["observation/img"], whole, strict=True):
            assert picture.shape == (32, 32, 3)
            oracle = ImageTokenizer(32, 32)
            np.testing.assert_array_equal(oracle.encode(picture).pixels, oracle.encode(full).pixels)

    def test_jpeg_xl_chunks(self, tmp_path: Path) -> None:
        """UMI packs each picture as a chunk of JPEG XL."""
        codecs = pytest.importorskip("imagecodecs.numcodecs")
        path = write_replay(tmp_path / "umi.zarr", chunk=1)
        images = zarr.open_group(path, mode="r")["data/img"][:]
        description = json.loads((path / "data/img/.zarray").read_text())
        description["compressor"] = {"id": "imagecodecs_jpegxl", "lossless": True}
        (path / "data/img/.zarray").write_text(json.dumps(description))
        for number, image in enumerate(images):
            (path / f"data/img/{number}.0.0.0").write_bytes(codecs.Jpegxl(lossless=True).encode(image))
        assert np.array_equal(np.concatenate([np.stack(e.fields["observation/img"]) for e in episodes(path)]), images)

    def test_a_codec_that_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_replay(tmp_path / "umi.zarr")
        description = json.loads((path / "data/img/.zarray").read_text())
        description["compressor"] = {"id": "imagecodecs_none_such"}
        (path / "data/img/.zarray").write_text(json.dumps(description))
        with pytest.raises(SourceError, match="imagecodecs_none_such.*pip install imagecodecs installs"):
            opened(path).specs()

    def test_texts_times_flags_and_large_arrays(self, tmp_path: Path) -> None:
        more = {
            "language_instruction": np.array(["push"] * 4 + ["pull"] * 6),
            "timestamp": np.arange(10.0),
            "done": np.arange(10) == 3,
            "point_cloud": np.zeros((10, 600, 3), np.float32),
        }
        path = write_replay(tmp_path / "a.zarr", **more)
        found = episodes(path)
        assert [one.metadata.instruction for one in found] == ["push", "push", "pull"]
        assert [one.metadata.terminated for one in found] == [False, True, False]
        assert set(found[0].fields) == {f"observation/{x}" for x in ("img", "state", "instruction")} | {"action"}
        notes = "\n".join(opened(path).notes())
        assert "observation/point_cloud is left out: its 1800 numbers" in notes
        assert "observation/timestamp is left out: it says when" in notes

    def test_poses_may_be_the_action(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "umi.zarr", action=None)
        with pytest.raises(SourceError, match="no field is the action: choose it by action=PATH"):
            opened(path).specs()
        assert list(episodes(path, "?action=observation/state")[0].fields) == ["observation/img", "action"]


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


class TestFaults:
    def test_a_missing_chunk_is_never_taken_for_zeros(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        (path / "data/action/1.0").unlink()
        found = results(path)
        assert [type(one) for one in found] == [Episode, Episode, Reject]
        assert "chunk data/action/1.0 is not stored" in found[2].message and "missing=fill" in found[2].message
        assert not episodes(path, "?missing=fill")[2].fields["action"][:4].any()

    def test_an_end_beyond_the_rows(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        zarr.open_group(path)["meta/episode_ends"][:] = [3, 4, 12]
        found = results(path)
        assert [type(one) for one in found] == [Episode, Episode, Reject]
        assert "has 10 rows, and the episode ends at row 12" in found[2].message

    def test_rows_after_the_last_end_and_empty_episodes(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        zarr.open_group(path)["meta/episode_ends"][:] = [3, 3, 8]
        found = results(path)
        assert [type(one) for one in found] == [Episode, Reject, Episode]
        assert "episode 1 is empty" in found[1].message
        assert "2 rows after the last end are in no episode" in opened(path).notes()

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"state": np.where(np.arange(10)[:, None] == 3, np.nan, 1.0)}, "state: nan at"),
            ({"state": np.ones((3, 2))}, "data/state: has 3 rows, and the episode ends at row 4"),
            ({"reward": np.where(np.arange(10) == 3, np.inf, 1)}, "rewards: inf"),
        ],
    )
    def test_values_and_lengths_that_cost_their_episodes(self, tmp_path: Path, more: Any, expected: str) -> None:
        found = results(write_replay(tmp_path / "a.zarr", **more))
        assert isinstance(found[0], Episode) and isinstance(found[1], Reject) and expected in found[1].message

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda p: removed(p), "does not exist"),
            (lambda p: removed(p / "meta"), "is no replay buffer: .* it has data"),
            (lambda p: removed(p / "data"), "is no replay buffer: .* it has meta"),
            (lambda p: removed(p / ".zgroup"), "cannot be read"),
            (lambda p: removed(p / "meta/episode_ends/0"), "meta/episode_ends/0 is not stored"),
            (lambda p: (p / "data/img/.zarray").write_text("{"), "cannot be read"),
            (lambda p: zarr.open_group(p)["meta/episode_ends"].__setitem__(0, 9), "4 of episode 1 is below the one"),
            (lambda p: write_replay(p, ()), "episode_ends is empty"),
            (lambda p: os.mkfifo(p / "data/action/2.0.0"), "neither a file nor a folder"),
        ],
    )
    def test_stores_that_cannot_be_planned(self, tmp_path: Path, change: Callable[[Path], Any], expected: str) -> None:
        path = write_replay(tmp_path / "a.zarr")
        change(path)
        with pytest.raises(SourceError, match=expected):
            (source := opened(path)).specs(), source.inputs()

    def test_pickled_objects_are_not_opened(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        description = json.loads((path / "data/state/.zarray").read_text())
        description |= {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}], "compressor": None}
        (path / "data/state/.zarray").write_text(json.dumps(description))
        assert any("observation/state is left out: its values are pickled" in note for note in opened(path).notes())

    def test_claimed_sizes_are_not_believed(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        description = json.loads((path / "data/state/.zarray").read_text())
        (path / "data/state/.zarray").write_text(json.dumps(description | {"chunks": [2**40, 5]}))
        assert all(isinstance(one, Reject) and "too large or too many" in one.message for one in results(path))

    def test_links_are_followed_but_not_in_circles(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        (path / "data/circle").symlink_to(path)
        (path / "data/img").rename(tmp_path / "elsewhere")
        (path / "data/img").symlink_to(tmp_path / "elsewhere")
        assert len(opened(path).inputs()) == 1 and len(episodes(path)) == 3
        assert any("observation/circle is left out: is a group" in note for note in opened(path).notes())

    def test_names_that_lead_out_of_a_zip(self, tmp_path: Path) -> None:
        folder = write_replay(tmp_path / "a.zarr")
        path = zipped(folder, "../outside/")
        with pytest.raises(SourceError, match="outside"):
            opened(path).specs()
        assert not (tmp_path / "outside").exists()

    @pytest.mark.parametrize("codec", [None, "Blosc", "Zlib", "Zstd", "LZ4"])
    def test_a_chunk_cut_anywhere_costs_the_episodes_in_it(self, tmp_path: Path, codec: str | None) -> None:
        """Of a Blosc chunk that is cut, zarr would take bytes from behind it in memory."""
        numcodecs = pytest.importorskip("numcodecs")
        path = write_replay(tmp_path / "a.zarr", compressor=getattr(numcodecs, codec)() if codec else None)
        chunk = path / "data/action/1.0"
        whole = chunk.read_bytes()
        for cut in {*range(0, len(whole), 9), len(whole) - 1}:
            chunk.write_bytes(whole[:cut])
            found = results(path, "?fields=observation/state")
            assert [type(one) for one in found] == [Episode, Episode, Reject]
            assert found[2].message.startswith(str(path))

    @pytest.mark.parametrize("form", [2, 3])
    def test_a_changed_byte_costs_at_most_the_episodes_in_its_chunk(self, tmp_path: Path, form: int) -> None:
        path = write_replay(tmp_path / "a.zarr", form=form)
        chunk = path / ("data/action/1.0" if form == 2 else "data/action/c/1/0")
        whole = chunk.read_bytes()
        for place in range(0, len(whole), 5):
            chunk.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            found = results(path, "?fields=observation/state")
            assert [type(one) for one in found[:2]] == [Episode] * 2 and isinstance(found[2], Episode | Reject)

    def test_a_zip_cut_or_changed_anywhere(self, tmp_path: Path) -> None:
        path = zipped(write_replay(tmp_path / "a.zarr", side=16))
        whole = path.read_bytes()
        for cut in range(0, len(whole), len(whole) // 10):
            path.write_bytes(whole[:cut])
            with pytest.raises(SourceError, match=r"a\.zarr\.zip cannot be read"):
                opened(path).specs()
        for place in np.random.default_rng(0).integers(0, len(whole), 12).tolist():
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            try:
                found = results(path)
            except SourceError as error:
                assert str(path) in str(error) or "field" in str(error)
                continue
            assert all(isinstance(one, Episode) or str(path) in one.message for one in found)

    def test_a_store_that_changed_or_vanished_since_it_was_planned(self, tmp_path: Path) -> None:
        path = write_replay(tmp_path / "a.zarr")
        (part,) = (source := opened(path)).partitions()
        shutil.rmtree(path)
        assert all(isinstance(one, Reject) for _, one in read_partition(source, part))
        write_replay(path, (3, 6, 9, 12))
        ((_, reject),) = read_partition(opened(path), part)
        assert isinstance(reject, Reject) and "has changed since it was planned" in reject.message

    def test_an_episode_can_be_loaded_after_the_others(self, tmp_path: Path) -> None:
        source = opened(write_replay(tmp_path / "a.zarr"))
        candidates = [one for part in source.partitions() for one in source.candidates(part)]
        assert [one.load().num_steps for one in reversed(candidates)] == [6, 1, 3]
        assert len(read_source(source, 2)) == 2


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_replay(Path("set.zarr"), range(20, 301, 20), chunk=30, side=96)
    for workers in ("1", "2"):
        assert convert("zarr:set.zarr", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 1

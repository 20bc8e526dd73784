"""AlohaSource: files in the layout of ALOHA and ACT, whole or damaged."""

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aloha_files import frames, h5py, jpeg, padded, write_episode, write_folder
from conversions import convert, tree
from limited import episodes_of, open_anew, read_source, results_of
from PIL import Image

from gato_tokenize import Episode, EpisodeTokenizer, ImageSpec, ImageTokenizer
from pipelines.sources.aloha import pictures
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject

HIGH = "observation/images/cam_high"


opened = functools.partial(open_anew, "aloha")
results = functools.partial(results_of, "aloha")
episodes = functools.partial(episodes_of, "aloha")


def decoded(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)))


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"aloha:{write_folder(folder / 'transfer_cube')}"


class TestContractOfCompressed(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"aloha:{write_folder(folder / 'transfer_cube', compress=True)}/episode_*.hdf5"


class TestEpisodes:
    def test_every_value_is_that_of_h5py(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "transfer_cube")
        for number, one in enumerate(episodes(folder)):
            path = f"{folder}/episode_{number}.hdf5"
            with h5py.File(path) as file:
                assert len(one.fields) == 5
                for key in ("qpos", "qvel", "images/cam_high", "images/cam_left_wrist"):
                    expected = file[f"observations/{key}"][()]
                    np.testing.assert_array_equal(np.stack(list(one.fields[f"observation/{key}"])), expected)
                np.testing.assert_array_equal(one.fields["action"], file["action"][()])
            named = one.metadata
            assert (named.episode_id, named.source_uri, named.source_index) == (path, path, 0)
            assert (named.task, named.domain, named.success) == ("transfer_cube", "aloha-sim", -1)
            assert not named.terminated and not named.truncated and not one.notes

    def test_the_attribute_sim_tells_the_domain(self, tmp_path: Path) -> None:
        write_episode(tmp_path / "set" / "a.hdf5", sim=False)
        path = write_episode(tmp_path / "set" / "b.hdf5")
        with h5py.File(path, "a") as file:
            del file.attrs["sim"]
        write_episode(tmp_path / "set" / "c.hdf5")
        assert [one.metadata.domain for one in episodes(tmp_path / "set")] == ["aloha", "aloha", "aloha-sim"]

    def test_planning_looks_into_the_first_files_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write_folder(tmp_path / "set", 5)
        (folder / "episode_4.hdf5").write_bytes(b"no HDF5")
        looked: list[str] = []

        def spied(path: str, look: Callable[[Any], Any]) -> Any:
            looked.append(path)
            with h5py.File(path) as file:
                return look(file)

        monkeypatch.setattr("pipelines.sources.aloha.fields.planned", spied)
        source = opened(folder)
        source.specs(), source.partitions(), source.inputs(), source.notes()
        assert looked == [f"{folder}/episode_0.hdf5", f"{folder}/episode_1.hdf5"]
        assert [type(one) for one in results(folder)] == [Episode] * 4 + [Reject]

    def test_the_instruction_is_a_text_or_an_attribute_of_the_file(self, tmp_path: Path) -> None:
        for number in range(3):
            path = write_episode(tmp_path / "set" / f"{number}.hdf5", language_raw=[f"fold {number}"])
            with h5py.File(path, "a") as file:
                file.attrs["operator"] = "somebody"
                if number == 2:
                    del file["language_raw"]
        one, two, three = results(tmp_path / "set")
        assert (one.metadata.instruction, two.metadata.instruction) == ("fold 0", "fold 1")
        assert "language_raw: missing" in three.message
        assert {e.metadata.instruction for e in episodes(tmp_path / "set", "?instruction=operator")} == {"somebody"}

    def test_what_else_is_there_is_noted(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "set", base_action=np.zeros((3, 2)))
        with h5py.File(folder / "episode_0.hdf5", "a") as file:
            file["observations/depth"] = np.zeros((3, 48, 64), np.uint16)
        notes = "\n".join(opened(folder).notes())
        assert "the field base_action is left out" in notes
        assert "observation/depth is left out: its 3072 numbers would be as many tokens" in notes


class TestPictures:
    def test_padded_files_lose_their_zeros_and_keep_their_bytes(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "set", compress=True)
        one, *_ = episodes(folder)
        assert one.fields[HIGH] == [jpeg(pixels) for pixels in frames(0, 3)]
        with h5py.File(folder / "episode_0.hdf5") as file:
            row = file["observations/images/cam_high"][0].tobytes()
        assert row.endswith(b"\0") and row.startswith(one.fields[HIGH][0])
        assert not any("compress_len" in note for note in opened(folder).notes())

    @pytest.mark.parametrize("kind", [h5py.vlen_dtype(np.uint8), "S"])
    def test_files_may_be_rows_of_any_length_or_strings(self, tmp_path: Path, kind: Any) -> None:
        folder = write_folder(tmp_path / "set")
        files = [jpeg(pixels) for pixels in frames(7, 3)]
        with h5py.File(folder / "episode_0.hdf5", "a") as file:
            del file["observations/images/cam_high"]
            rows = np.array(files, "S") if kind == "S" else None
            made = file.create_dataset("observations/images/cam_high", (3,), rows.dtype if rows is not None else kind)
            for number, data in enumerate(files):
                made[number] = data if kind == "S" else np.frombuffer(data, np.uint8)
        assert results(folder)[0].fields[HIGH] == files

    @pytest.mark.parametrize("compress", [False, True])
    @pytest.mark.parametrize("size", ["32x48", "96x128"])
    def test_resizing_while_reading_gives_the_patches_of_the_whole_picture(
        self, tmp_path: Path, compress: bool, size: str
    ) -> None:
        folder = write_folder(tmp_path / "set", compress=compress)
        one, *_ = episodes(folder, f"?resize={size}")
        height, width = map(int, size.split("x"))
        whole = [decoded(jpeg(pixels)) if compress else pixels for pixels in frames(0, 3)]
        oracle = ImageTokenizer(height, width)
        for picture, full in zip(one.fields[HIGH], whole, strict=True):
            assert picture.shape == (height, width, 3)
            np.testing.assert_array_equal(oracle.encode(picture).pixels, oracle.encode(full).pixels)
        assert one.notes[f"{HIGH}: image resized while it was read"] == 3
        assert one.notes.get(f"{HIGH}: image is from lossy JPEG") == (3 if compress else None)
        assert one.spec.fields[HIGH] == ImageSpec(None, (height, width))

    @pytest.mark.parametrize("compress", [False, True])
    def test_bgr(self, tmp_path: Path, compress: bool) -> None:
        folder = write_folder(tmp_path / "set", compress=compress)
        one, *_ = episodes(folder, "?colours=bgr")
        whole = [decoded(jpeg(pixels)) if compress else pixels for pixels in frames(0, 3)]
        np.testing.assert_array_equal(np.stack(one.fields[HIGH]), np.stack(whole)[..., ::-1])

    def test_pictures_are_read_in_blocks_and_only_where_they_are_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_folder(tmp_path / "set", 1)
        write_episode(folder / "episode_0.hdf5", 0, 9)
        monkeypatch.setattr(pictures, "BLOCK_BYTES", 2 * 48 * 64 * 3 + 5)
        read: list[int] = []
        whole = pictures.values_of

        def spied(*arguments: Any) -> Any:
            read.append(len(values := whole(*arguments)))
            return values

        source = opened(folder, "?max_steps=5&resize=32x32")
        source.specs()
        monkeypatch.setattr(pictures, "values_of", spied)
        (one,) = (result for _, result in read_source(source))
        assert read == [2, 2, 1] * 2 and len(one.fields[HIGH]) == 5
        expected = ImageTokenizer(32, 32).encode(frames(0, 9)[4]).pixels
        np.testing.assert_array_equal(ImageTokenizer().encode(one.fields[HIGH][4]).pixels, expected)

    def test_pictures_of_480x640_need_a_resize(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for number in range(3):
            path = write_episode(tmp_path / "set" / f"{number}.hdf5", steps=1)
            with h5py.File(path, "a") as file:
                del file["observations/images/cam_high"]
                file["observations/images/cam_high"] = np.zeros((1, 480, 640, 3), np.uint8)
        assert convert(f"aloha:{tmp_path}/set", out=str(tmp_path / "out/set/1.0.0")) != 0
        said = capsys.readouterr().err
        assert f"1200 of them {HIGH}" in said and "resize=" in said
        assert convert(f"aloha:{tmp_path}/set?resize=96x128", out=str(tmp_path / "out/set/1.0.0")) == 0

    def test_a_partition_has_about_the_bytes_of_a_shard(self, tmp_path: Path) -> None:
        source = opened(write_folder(tmp_path / "set", 12, compress=True), "?resize=160x128")
        source.shard_bytes = 1
        assert [part["count"] for part in source.partitions()] == [1] * 12
        source.shard_bytes = 2**30
        assert sum(part["count"] for part in source.partitions()) == 12 > len(source.partitions())


def replaced(file: Any, key: str, values: Any, **kind: Any) -> None:
    del file[key]
    file.create_dataset(key, data=values, **kind)


def linked(file: Any, key: str, link: Any) -> None:
    del file[key]
    file[key] = link


CAMERA = "observations/images/cam_high"
FAULTS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda f: f.pop("action"), "action: missing"),
    (lambda f: f.pop("observations/qpos"), "observations/qpos: missing"),
    (lambda f: f.pop(CAMERA), f"{CAMERA}: missing"),
    (lambda f: replaced(f, "action", np.full((4, 14), np.nan)), "action: nan at index [0, 0]"),
    (lambda f: replaced(f, "action", np.zeros((0, 14))), "action: the episode is empty"),
    (lambda f: replaced(f, "observations/qvel", np.zeros((3, 14))), "observation/qvel: 3 values, but action has 4"),
    (lambda f: replaced(f, "observations/qvel", np.zeros((4, 13))), "observation/qvel: expected"),
    (
        lambda f: replaced(f, "observations/qvel", np.array([b"a"] * 4, dtype=object), dtype=h5py.string_dtype()),
        "observation/qvel: ",
    ),
    (lambda f: linked(f, "action", h5py.ExternalLink("../other.hdf5", "/action")), "action: is a link"),
    (lambda f: linked(f, CAMERA, h5py.SoftLink("/observations/images/cam_left_wrist")), "cam_high: is a link"),
    (lambda f: replaced(f, CAMERA, np.zeros((4, 48, 48, 3), np.uint8)), "expected uint8 of shape [48, 64, 3]"),
    (lambda f: replaced(f, CAMERA, np.zeros((4, 48, 64, 3), np.int16)), "expected uint8 of shape [48, 64, 3]"),
    (lambda f: replaced(f, CAMERA, padded([jpeg(frames(0, 1)[0])] * 3)), "cam_high: 3 values, but action has 4"),
    (lambda f: replaced(f, CAMERA, padded([jpeg(frames(0, 1, 64)[0])] * 4)), "got 64x64"),
    (lambda f: replaced(f, CAMERA, padded([b"noise"] * 4)), "cam_high[0]: not a PNG, JPEG"),
    (lambda f: replaced(f, CAMERA, padded([jpeg(frames(0, 1)[0])[:-60]] * 4)), "cam_high[0]: "),
]


class TestFaults:
    @pytest.mark.parametrize(("change", "expected"), FAULTS)
    def test_each_costs_its_episode(self, tmp_path: Path, change: Callable[[Any], Any], expected: str) -> None:
        folder = write_folder(tmp_path / "set")
        path = folder / "episode_1.hdf5"
        with h5py.File(path, "a") as file:
            change(file)
        one, two, three = results(folder, "?resize=32x32")
        assert isinstance(one, Episode) and isinstance(three, Episode)
        assert isinstance(two, Reject) and expected in two.message and two.message.startswith(str(path)), two

    def test_a_damaged_picture_that_would_be_kept_as_it_is(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "set", compress=True)
        with h5py.File(folder / "episode_1.hdf5", "a") as file:
            replaced(file, CAMERA, padded([jpeg(frames(0, 1)[0])[:-60]] * 4))
        one, two, _ = results(folder)
        tokenizer = EpisodeTokenizer(one.spec)
        tokenizer.encode(one)
        with pytest.raises(ValueError, match="cam_high"):
            tokenizer.encode(two)

    def test_a_file_cut_anywhere_is_one_reject(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "set", 2)
        path = write_episode(folder / "episode_9.hdf5")
        size = path.stat().st_size
        for cut in sorted({*range(0, size, size // 50), 40, size - 1}, reverse=True):
            os.truncate(path, cut)
            one, two, three = results(folder)
            assert isinstance(one, Episode) and isinstance(two, Episode)
            assert isinstance(three, Reject) and three.message.startswith(str(path))

    def test_a_flipped_byte_costs_at_most_its_episode(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "set", 1)
        path = write_episode(folder / "episode_9.hdf5")
        whole = path.read_bytes()
        for place in [*range(0, 800, 40), *np.random.default_rng(0).integers(0, len(whole), 10).tolist()]:
            data = bytearray(whole)
            data[place] ^= 0xFF
            path.write_bytes(data)
            one, two = results(folder)
            assert isinstance(one, Episode)
            assert isinstance(two, Episode) or str(path) in two.message

    def test_a_missing_file_in_the_middle_costs_its_episode(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "set")
        source = opened(folder)
        parts = source.partitions()
        (folder / "episode_1.hdf5").unlink()
        loads = [candidate.load for part in parts for candidate in source.candidates(part)]
        assert isinstance(loads[0](), Episode) and isinstance(loads[2](), Episode)
        with pytest.raises(OSError, match=r"episode_1\.hdf5"):
            loads[1]()

    def test_folders_without_episodes(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"no file below .* ends in \.hdf5, \.h5"):
            opened(tmp_path).specs()
        (tmp_path / "a.hdf5").write_bytes(b"")
        with pytest.raises(SourceError, match=r"a\.hdf5 cannot be read"):
            opened(tmp_path).specs()
        (tmp_path / "a.hdf5").unlink()
        with h5py.File(tmp_path / "b.hdf5", "w") as file:
            file["data/demo_0/actions"] = [1]
        with pytest.raises(SourceError, match=r"b\.hdf5 is not in the layout of ALOHA: it has no action, but data"):
            opened(tmp_path).specs()


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(Path("set"), 14, compress=True)
    for workers in ("1", "2"):
        assert convert("aloha:set?resize=160x128", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 1

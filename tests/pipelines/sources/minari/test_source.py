"""MinariSource: datasets made by minari itself and by hand, whole or damaged."""

import io
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limited import read_source
from minari_files import BOX, by_hand, camera, encoded, h5py, pixels
from PIL import Image

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, EpisodeSpec, ImageSpec, TextSpec
from pipelines.sources import open_source, pieces
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.formats import hdf5
from pipelines.sources.minari import source as read_minari
from pipelines.sources.minari import values as minari_values
from pipelines.sources.minari.source import MinariSource
from pipelines.sources.minari.spaces import space_from_json
from pipelines.sources.reading import Reject, read_partition


def open_minari(path: Path | str) -> MinariSource:
    source = MinariSource(str(path), {})
    source.source = f"minari:{path}"
    return source


def results(source: MinariSource, limit: int | None = None) -> list[Any]:
    return [result for _, result in read_source(source, limit)]


class TestByHand:
    def test_two_steps_of_three_observations(self, tmp_path: Path) -> None:
        folder = by_hand(tmp_path / "set")
        source = open_minari(folder)
        spec = EpisodeSpec(
            {"camera": ImageSpec((32, 48, 3)), "word": TextSpec(), "joint": ContinuousSpec(2)}, DiscreteSpec(3, low=1)
        )
        assert source.specs() == {"toy/hand-v0": spec}
        _, episode, _ = results(source)
        assert episode.num_steps == 2
        assert episode.observations["word"] == ["wörd 0", "wörd 1"]
        assert episode.observations["joint"].tolist() == [[1, 1], [1, 1]]
        assert episode.actions.tolist() == [1, 2]
        oracle = [np.asarray(Image.open(io.BytesIO(encoded(pixels(i)).tobytes()))) for i in range(2)]
        assert np.array_equal(episode.observations["camera"], oracle)
        assert episode.notes == {"final observation left out": 1, "observations/camera: image is from lossy JPEG": 2}
        named = episode.metadata
        assert (named.episode_id, named.source_index, named.task) == ("toy/hand-v0/1", 1, "toy/hand-v0")
        assert named.source_uri == f"{folder}/data/main_data.hdf5"
        assert (named.domain, named.agent_id) == ("toy", "a hand")
        assert (named.return_, named.success, named.terminated, named.truncated) == (1.0, 1, True, False)
        assert [entry["uri"] for entry in source.inputs()] == [
            f"{folder}/data/main_data.hdf5",
            f"{folder}/data/metadata.json",
        ]

    @pytest.mark.parametrize("place", ["", "data", "data/main_data.hdf5"])
    def test_every_way_to_name_it(self, tmp_path: Path, place: str) -> None:
        by_hand(tmp_path)
        assert len(results(open_minari(tmp_path / place))) == 3


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"minari:{by_hand(folder / 'set')}"


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """(the folder of a dataset that minari made, its episodes as minari reads them)."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        minari = pytest.importorskip("minari", reason="minari is not installed; the handmade files remain")
        from gymnasium import spaces
        from minari.data_collector import EpisodeBuffer

        root = tmp_path_factory.mktemp("minari")
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        pair = spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(-1, 1, (2,), np.float64)))
        observation = spaces.Dict(
            {
                "camera": spaces.Box(0, 255, (32, 48, 3), np.uint8),
                "deep": spaces.Dict({"pair": pair, "word": spaces.Text(20)}),
                "many": spaces.Tuple([spaces.Discrete(2)] * 11),
                "grid": spaces.Box(0, 10, (7, 7, 3), np.uint8),
                "nvec": spaces.MultiDiscrete([2, 3]),
                "bits": spaces.MultiBinary(3),
                "plane": spaces.MultiBinary([2, 2]),
            }
        )
        action = spaces.Tuple((spaces.Box(-2, 2, (2,), np.float32), spaces.Discrete(4)))
        for space in (observation, action):
            space.seed(7)

        def stack(values: list[Any]) -> Any:
            if isinstance(values[0], dict):
                return {key: stack([value[key] for value in values]) for key in values[0]}
            if isinstance(values[0], tuple):
                return tuple(stack(list(members)) for members in zip(*values, strict=True))
            return values

        buffers = [
            EpisodeBuffer(
                observations=stack([observation.sample() for _ in range(steps + 1)]),
                actions=stack([action.sample() for _ in range(steps)]),
                rewards=[0.5] * steps,
                terminations=[False] * steps,
                truncations=[False] * (steps - 1) + [True],
                infos={"is_success": [False] * (steps + 1)},
            )
            for steps in (3, 1, 4)
        ]
        made = minari.create_dataset_from_buffers(
            "toy/nested-v0",
            buffers,
            observation_space=observation,
            action_space=action,
            algorithm_name="random",
            author="a",
            author_email="a@example.org",
            code_permalink="none",
        )
        return root / "toy" / "nested-v0", list(made.iterate_episodes())


class TestDatasetsOfMinari:
    def test_every_space_comes_back_as_minari_itself_reads_it(self, nested: tuple[Path, list[Any]]) -> None:
        folder, expected = nested
        read = results(open_minari(folder))
        assert [episode.num_steps for episode in read] == [3, 1, 4]
        for episode, other in zip(read, expected, strict=True):
            seen, known = episode.fields, other.observations
            pairs = {
                "camera": known["camera"],
                "deep/pair/0": known["deep"]["pair"][0],
                "deep/pair/1": known["deep"]["pair"][1],
                **{f"many/{i:02}": values for i, values in enumerate(known["many"])},
                **{key: known[key] for key in ("grid", "nvec", "bits", "plane")},
            }
            for key, values in pairs.items():
                assert np.array_equal(seen[f"observation/{key}"], values[:-1]), key
            assert list(seen["observation/deep/word"]) == list(known["deep"]["word"])[:-1]
            assert np.array_equal(seen["action/0"], other.actions[0])
            assert np.array_equal(seen["action/1"], other.actions[1])
            assert len(seen) == len(pairs) + 3
            assert (episode.metadata.return_, episode.metadata.success) == (other.rewards.sum(), 0)
            assert (episode.metadata.terminated, episode.metadata.truncated) == (False, True)

    def test_the_spec_is_that_of_the_true_spaces(self, nested: tuple[Path, list[Any]]) -> None:
        from gymnasium import spaces

        from gato_tokenize import spec_from_spaces

        folder, _ = nested
        (spec,) = open_minari(folder).specs().values()
        said = json.loads((folder / "data" / "metadata.json").read_text())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from minari.serialization import deserialize_space

        true = [deserialize_space(said[role]) for role in ("observation_space", "action_space")]
        assert isinstance(true[0], spaces.Dict)
        assert spec == spec_from_spaces(*true)


def stacked(folder: Path, frames: Any, **more: Any) -> Path:
    """A dataset of one step that shows stacked frames, and names its vectors as dm_control does. HDF5 keeps `w/pos` as
    a member of a group `w`, where the library of Minari writes it too."""
    eye = {"type": "Box", "dtype": "uint8", "shape": [4, 16, 16]}
    eye |= {name: np.full((4, 16, 16), value).tolist() for name, value in (("low", 0), ("high", 255))}
    space = {"type": "Dict", "subspaces": {"eye": eye, "w/pos": BOX, "w/vel": BOX}}
    by_hand(folder, 1, observation_space=json.dumps(space))
    with h5py.File(folder / "data/main_data.hdf5", "r+") as file:
        del file["episode_0/observations"]
        seen = file.create_group("episode_0/observations")
        for key, values in {"eye": frames, "w/pos": np.ones((2, 2)), "w/vel": np.zeros((2, 2)), **more}.items():
            seen[key] = values
    return folder


class TestRoles:
    FRAMES = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16), np.uint8)

    def test_what_could_be_two_things_is_refused(self, tmp_path: Path) -> None:
        message = r"observation/eye: .*:ROLE, where ROLE is frames .*, channels-first .* or discrete"
        with pytest.raises(SourceError, match=message):
            open_minari(stacked(tmp_path, self.FRAMES)).specs()

    def test_stacked_frames_and_keys_with_a_slash(self, tmp_path: Path) -> None:
        source = open_source(f"minari:{stacked(tmp_path, self.FRAMES)}?roles=observation/eye:frames")
        (candidate,) = source.candidates(source.partitions()[0])
        seen, task = candidate.load(), "toy/hand-v0/roles=observation/eye:frames"
        assert list(source.specs()) == list(source.reasons()) == [seen.metadata.task] == [task]
        for i in range(4):
            np.testing.assert_array_equal(seen.observations["eye"][str(i)], self.FRAMES[:1, i])
        assert seen.observations["w/pos"].tolist() == [[1, 1]] and seen.observations["w/vel"].tolist() == [[0, 0]]

    def test_a_member_that_no_key_names_is_refused(self, tmp_path: Path) -> None:
        folder = stacked(tmp_path, self.FRAMES, **{"w/more": np.zeros((2, 2))})
        source = open_source(f"minari:{folder}?roles=observation/eye:frames")
        (candidate,) = source.candidates(source.partitions()[0])
        with pytest.raises(ValueError, match=r"observations: unknown \['w/more'\]"):
            candidate.load()


def test_each_space_by_hand() -> None:
    texts = {
        "Box": BOX,
        "MultiDiscrete": {"type": "MultiDiscrete", "dtype": "int64", "nvec": [[2, 3]], "start": [[0, 1]]},
        "MultiBinary": {"type": "MultiBinary", "n": [2, 2]},
        "Tuple": {"type": "Tuple", "subspaces": [BOX, {"type": "Discrete", "n": 2, "start": 0}]},
    }
    spaces = {name: space_from_json(json.dumps(text), name) for name, text in texts.items()}
    assert spaces["Box"].low.tolist() == [-2, -2] and spaces["Box"].dtype == np.float32
    assert spaces["MultiDiscrete"].nvec.tolist() == [[2, 3]] and spaces["MultiDiscrete"].start.tolist() == [[0, 1]]
    assert spaces["MultiBinary"].shape == (2, 2)
    assert [type(space).__name__ for space in spaces["Tuple"].spaces] == ["Box", "Discrete"]


class TestPlanning:
    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            ({"data_format": "zarr"}, "data in the format 'zarr' cannot be read, only hdf5, arrow, parquet"),
            ({"dataset_id": None}, "dataset_id must name the dataset"),
            ({"dataset_id": "a\nb"}, "dataset_id must name the dataset"),
            ({"algorithm_name": 3}, "algorithm_name its agent"),
            ({"total_episodes": -1}, "total_episodes must be from 0"),
            ({"total_episodes": 10**12}, "total_episodes must be from 0"),
            ({"total_episodes": "3"}, "total_episodes must be from 0"),
            ({"observation_space": None}, "no observation_space is described"),
            ({"action_space": None}, "no action_space is described"),
            ({"action_space": "{"}, "action_space, column 2: Expecting"),
            ({"action_space": "[]"}, "action_space: expected a JSON object, got list"),
            ({"action_space": '{"type": "Graph"}'}, "action_space: no space of type 'Graph'; known: Dict, Tuple"),
            ({"action_space": '{"type": ["Box"]}'}, r"action_space: no space of type \"\['Box'\]\""),
            ({"action_space": '{"type": "Discrete"}'}, r"action_space: no Discrete space can be made .*KeyError\('n'"),
            (
                {"action_space": '{"type": "Tuple", "subspaces": [{"type": "Dict"}]}'},
                "action_space/0: no space of type",
            ),
            ({"action_space": json.dumps({**BOX, "shape": [3]})}, "action_space: no Box space"),
            ({"action_space": json.dumps({**BOX, "dtype": "cat"})}, "action_space: no Box space"),
            ({"action_space": json.dumps({**BOX, "dtype": "complex64"})}, "no spec can be made of the fields: action"),
            ({"action_space": '{"type": "Tuple", "subspaces": [' * 33 + "]}" * 33}, "nested more than 32 deep"),
            ({"action_space": "[" * 100_000}, "action_space: JSON nested too deeply"),
        ],
    )
    def test_metadata_that_describe_no_dataset(self, tmp_path: Path, metadata: dict[str, Any], expected: str) -> None:
        with pytest.raises(SourceError, match=expected):
            open_minari(by_hand(tmp_path / "set", 1, **metadata)).partitions()

    def test_no_dataset_at_all(self, tmp_path: Path) -> None:
        for place in ("", "nothing", "main_data.hdf5"):
            with pytest.raises(SourceError, match="is no Minari dataset of version 0.5"):
                open_minari(tmp_path / place).inputs()
        folder = by_hand(tmp_path / "set")
        (folder / "data" / "main_data.hdf5").unlink()
        with pytest.raises(SourceError, match="main_data.hdf5 cannot be read"):
            open_minari(folder).inputs()

    def test_metadata_cut_at_any_byte(self, tmp_path: Path) -> None:
        path = by_hand(tmp_path, 1, observation_space=json.dumps(BOX)) / "data" / "metadata.json"
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            with pytest.raises(SourceError, match=r"metadata\.json, column"):
                open_minari(tmp_path).partitions()

    def test_hdf5_cut_at_any_byte(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5, "call_forked", lambda function, limit: function())  # thousands of forks
        path = by_hand(tmp_path, 1, observation_space=json.dumps(BOX)) / "data" / "main_data.hdf5"
        with h5py.File(path, "w") as file:
            file.create_group("episode_0")["rewards"] = [1.0]
        assert isinstance(results(open_minari(tmp_path))[0], Reject)
        for size in reversed(range(path.stat().st_size)):
            os.truncate(path, size)
            with pytest.raises(SourceError, match=r"main_data\.hdf5 cannot be read"):
                open_minari(tmp_path).partitions()

    @pytest.mark.parametrize(
        ("fate", "expected"),
        [
            (lambda *_: time.sleep(1000), "no end after 1 s"),
            (lambda *_: os._exit(3), "the process died of exit code 3"),
        ],
    )
    def test_a_library_that_hangs_or_crashes_ends_the_planning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: Any, expected: str
    ) -> None:
        source = open_minari(by_hand(tmp_path, 1))
        monkeypatch.setattr(h5py, "File", fate)
        monkeypatch.setattr("pipelines.sources.formats.hdf5.PLAN_SECONDS", 1)
        with pytest.raises(SourceError, match=rf"main_data\.hdf5 cannot be read: {expected}"):
            source.partitions()

    def test_an_episode_is_counted_wherever_it_is_named(self, tmp_path: Path) -> None:
        more = by_hand(tmp_path / "more", 3, total_episodes=1)
        assert [isinstance(result, Episode) for result in results(open_minari(more))] == [True] * 3
        fewer = results(open_minari(by_hand(tmp_path / "fewer", 1, total_episodes=2)))
        assert isinstance(fewer[0], Episode) and fewer[1].message.endswith("main_data.hdf5: episode_1: missing")

    def test_partitions_by_bytes_and_by_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = open_minari(by_hand(tmp_path, 7))
        assert len(source.partitions()) == 1
        size = (tmp_path / "data" / "main_data.hdf5").stat().st_size
        with monkeypatch.context() as patch:
            weight = size * read_minari.JPEG_GROWTH + 7 * pieces.RECORD_BYTES
            patch.setattr(pieces, "PIECE_BYTES", weight * 2 // 7 + 9)
            assert [part["stop"] - part["first"] for part in source.partitions()] == [2, 2, 2, 1]
            for limit in range(9):
                assert len(results(source, limit)) == min(limit, 7)
            source.shard_bytes = weight // 7 + 9
            assert len(source.partitions()) == 7
        assert len(source.partitions()) == 7


def renamed(group: Any, old: str, new: str) -> None:
    group.move(old, new)


def replaced(group: Any, key: str, data: Any, **options: Any) -> None:
    if key in group:
        del group[key]
    group.create_dataset(key, data=data, **options)


def linked(group: Any, key: str, link: Any) -> None:
    del group[key]
    group[key] = link


NOISE = np.frombuffer(b"no image", np.uint8)
FAULTS: list[tuple[Callable[[Any], None], str]] = [
    (lambda g: renamed(g, "rewards", "reward"), "episode_1/rewards: missing"),
    (lambda g: renamed(g, "observations/word", "word"), "episode_1/observations/word: missing"),
    (lambda g: renamed(g, "actions", "observations/more"), "unknown ['more']; its space has"),
    (lambda g: renamed(g, "actions", "action"), "episode_1/actions: missing"),
    (lambda g: g.pop("terminations"), "episode_1/terminations: missing"),
    (lambda g: replaced(g, "truncations", [False]), "episode_1/truncations: expected 2 entries, one a timestep, got 1"),
    (lambda g: replaced(g, "actions", [1]), "episode_1/actions: expected 2 entries, one a timestep, got 1"),
    (lambda g: replaced(g, "actions", [1, 4]), "action: 4 at index [1] is outside [1, 4)"),
    (lambda g: replaced(g, "actions", [1.0, 2.0]), "action: expected whole numbers, got float64"),
    (lambda g: replaced(g, "actions", [[1], [2]]), "action: expected whole numbers of shape [2], got int64"),
    (lambda g: replaced(g, "actions", 1), "episode_1/actions: expected an array with a time axis"),
    (lambda g: replaced(g, "actions", h5py.Empty("i8")), "episode_1/actions: expected an array with a time axis"),
    (lambda g: replaced(g, "rewards", [0.0] * 3), "has 3 rewards, but its total_steps says 2"),
    (lambda g: replaced(g, "rewards", [0.0, np.nan]), "episode_1/rewards: nan is not finite"),
    (lambda g: replaced(g, "rewards", [[0.0], [1.0]]), "episode_1/rewards: expected a number a timestep, got float64"),
    (lambda g: replaced(g, "rewards", ["a", "b"]), "episode_1/rewards: expected a number a timestep, got object"),
    (lambda g: replaced(g, "rewards", np.zeros(0)), "episode_1: the episode is empty"),
    (lambda g: g.attrs.update(total_steps=5), "has 2 rewards, but its total_steps says 5"),
    (
        lambda g: replaced(g["observations"], "joint", np.zeros((2, 2))),
        "joint: expected 3 entries, one a timestep, got 2",
    ),
    (lambda g: replaced(g["observations"], "joint", np.full((3, 2), np.inf)), "observation/joint: inf at index [0, 0]"),
    (lambda g: linked(g, "observations/joint", g["infos"]), "joint: expected an array with a time axis"),
    (lambda g: replaced(g, "observations", [1, 2, 3]), "episode_1/observations: expected a group with ['camera'"),
    (lambda g: replaced(g["observations"], "word", [b"a", b"\xff", b"c"]), "word[1]: not UTF-8"),
    (lambda g: replaced(g["observations"], "word", [1, 2, 3]), "word[0]: expected text, got int64"),
    (camera(NOISE), "camera[0]: the image cannot be decoded"),
    (camera(encoded(pixels(0))[:-50]), "camera[0]: the image cannot be decoded: image file is truncated"),
    (camera(encoded(pixels(0))[:20]), "camera[0]: the image cannot be decoded"),
    (camera(encoded(pixels(0), "GIF")), "camera[0]: the image cannot be decoded"),
    (camera(np.zeros(0, np.uint8)), "camera[0]: the image cannot be decoded"),
    (camera(encoded(pixels(0, 48, 32))), "camera[0]: expected an image of [32, 48, 3], got a RGB image of 48x32"),
    (camera(encoded(pixels(0)[:, :, 0])), "camera[0]: expected an image of [32, 48, 3], got a L image of 32x48"),
    (camera(encoded(np.zeros((9_000, 9_999), np.uint8), "PNG")), "camera[0]: "),
    (
        lambda g: linked(g, "actions", h5py.ExternalLink("other.hdf5", "/actions")),
        "actions: is a link, perhaps into another file",
    ),
    (
        lambda g: linked(g, "actions", h5py.SoftLink("/episode_0/actions")),
        "actions: is a link, perhaps into another file",
    ),
    (lambda g: linked(g, "actions", h5py.SoftLink("/nowhere")), "actions: is a link, perhaps into another file"),
    (lambda g: g.move("infos/success", "infos/x"), ""),
]


class TestFaults:
    @pytest.mark.parametrize(("change", "expected"), FAULTS)
    def test_each_costs_its_episode(self, tmp_path: Path, change: Callable[[Any], Any], expected: str) -> None:
        path = by_hand(tmp_path) / "data" / "main_data.hdf5"
        with h5py.File(path, "a") as file:
            change(file["episode_1"])
        one, two, three = results(open_minari(tmp_path))
        assert isinstance(one, Episode) and isinstance(three, Episode)
        if expected:
            assert isinstance(two, Reject) and expected in two.message and two.message.startswith(str(path))
        else:
            assert isinstance(two, Episode) and two.metadata.success == -1

    def test_values_in_other_files_are_not_fetched(self, tmp_path: Path) -> None:
        path = by_hand(tmp_path) / "data" / "main_data.hdf5"
        (tmp_path / "secret").write_bytes(bytes(range(16)))
        with h5py.File(path, "a") as file:
            del file["episode_0/actions"], file["episode_1/actions"], file["episode_2"]
            file["episode_0"].create_dataset("actions", (1,), "i8", external=[(str(tmp_path / "secret"), 0, 8)])
            layout = h5py.VirtualLayout((2,), "i8")
            layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "x", (2,))
            file["episode_1"].create_virtual_dataset("actions", layout)
            file["episode_2"] = h5py.ExternalLink("other.hdf5", "/")
        read = results(open_minari(tmp_path))
        assert [result.message.partition("; ")[2] for result in read] == ["it is not followed"] * 3

    def test_an_array_that_claims_any_size_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = by_hand(tmp_path) / "data" / "main_data.hdf5"
        with h5py.File(path, "a") as file:
            del file["episode_0/observations/joint"]
            file["episode_0/observations"].create_dataset("joint", (2, 2**50), "f4", chunks=(1, 2**20))
        read = results(open_minari(tmp_path))
        assert "joint: float32 of shape [2, 1125899906842624] is more than" in read[0].message
        monkeypatch.setattr(minari_values, "MAX_FIELD_BYTES", 32 * 48 * 3 * 2)
        assert "3 images of [32, 48, 3] are more than" in results(open_minari(tmp_path))[2].message

    def test_success_and_rewards_as_they_come(self, tmp_path: Path) -> None:
        path = by_hand(tmp_path) / "data" / "main_data.hdf5"
        with h5py.File(path, "a") as file:
            del file["episode_0/infos"]
            del file["episode_1/infos/success"]
            file["episode_1/infos/is_success"] = np.zeros(3, np.float32)
            replaced(file["episode_2"], "rewards", [2**24, 1, 1], dtype="f4")
        read = results(open_minari(tmp_path))
        assert [episode.metadata.success for episode in read] == [-1, 0, 1]
        assert read[2].metadata.return_ == 2**24 + 2

    def test_images_may_be_plain_or_of_equal_length_or_png(self, tmp_path: Path) -> None:
        path = by_hand(tmp_path) / "data" / "main_data.hdf5"
        frames = np.stack([pixels(i) for i in range(4)])
        with h5py.File(path, "a") as file:
            replaced(file["episode_0/observations"], "camera", frames[:2])
            replaced(file["episode_1/observations"], "camera", np.stack([encoded(frames[0])] * 3))
            camera(*(encoded(frame, "PNG") for frame in frames))(file["episode_1"].parent["episode_1"])
            replaced(file["episode_2/observations"], "camera", np.stack([encoded(frames[0])] * 4))
        read = results(open_minari(tmp_path))
        assert np.array_equal(read[0].observations["camera"], frames[:1])
        assert np.array_equal(read[1].observations["camera"], frames[:2])
        assert read[0].notes == read[1].notes == {"final observation left out": 1}
        assert len(read[2].observations["camera"]) == 3 and len(read[2].notes) == 2

    def test_a_file_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        folder = by_hand(tmp_path / "set")
        source = open_minari(folder)
        (part,) = source.partitions()
        shutil.rmtree(folder)
        by_hand(folder, 4)
        results_now = [result for _, result in read_partition(source, part)]
        assert results_now
        for result in results_now:
            assert "main_data.hdf5 has changed since it was planned" in result.message
        ((_, reject),) = read_partition(open_minari(folder), part)
        assert "metadata.json has changed since it was planned" in reject.message


def test_the_source_string_opens_it(tmp_path: Path) -> None:
    assert isinstance(open_source(f"minari:{by_hand(tmp_path)}"), MinariSource)

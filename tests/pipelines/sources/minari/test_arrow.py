"""MinariSource on datasets that minari itself stored in Arrow and Parquet, whole or damaged."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from limited import read_source

from gato_tokenize import Episode, ImageSpec
from pipelines.sources import open_source
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.minari.arrow_episode import fragments
from pipelines.sources.reading import Reject

pa = pytest.importorskip("pyarrow")
minari = pytest.importorskip("minari", reason="minari is not installed")


def stacked(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: stacked([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(stacked(list(members)) for members in zip(*values, strict=True))
    return values


@pytest.fixture(scope="module", params=["arrow", "parquet"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """(the folder of a dataset that minari made, its episodes as minari reads them)."""
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    pair = spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(-1, 1, (2, 3), np.float64)))
    members = {
        "camera": spaces.Box(0, 255, (32, 48, 3), np.uint8),
        "deep": pair,
        "many": spaces.Tuple([spaces.Discrete(2)] * 11),
        "word": spaces.Text(9),
        "w/pos": spaces.MultiBinary([2, 2]),
        "nvec": spaces.MultiDiscrete([2, 3]),
    }
    observation, action = spaces.Dict(members), spaces.Tuple((spaces.Box(-2, 2, (2,), np.float32), spaces.Discrete(4)))
    for space in (observation, action):
        space.seed(7)
    buffers = [
        EpisodeBuffer(
            observations=stacked([observation.sample() for _ in range(steps + 1)]),
            actions=stacked([action.sample() for _ in range(steps)]),
            rewards=[0.5] * steps,
            terminations=[False] * steps,
            truncations=[False] * (steps - 1) + [True],
            infos={"success": [False] * steps + [steps == 4]},
        )
        for steps in (3, 1, 4)
    ]
    root = tmp_path_factory.mktemp(request.param)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        dataset = minari.create_dataset_from_buffers(
            "toy/set-v0",
            buffers,
            observation_space=observation,
            action_space=action,
            algorithm_name="random",
            author="a",
            author_email="a@example.org",
            code_permalink="none",
            data_format=request.param,
        )
        return root / "toy" / "set-v0", list(dataset.iterate_episodes())


def results(folder: Path, options: str = "") -> list[Any]:
    open_source.cache_clear()
    return [result for _, result in read_source(open_source(f"minari:{folder}{options}"))]


class TestContract(EpisodeSourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, made: tuple[Path, list[Any]]) -> None:
        self._made = made[0]

    def make(self, folder: Path) -> str:
        return f"minari:{shutil.copytree(self._made, folder / 'set')}"


class TestEpisodes:
    def test_every_value_is_that_of_minari(self, made: tuple[Path, list[Any]]) -> None:
        folder, expected = made
        read = results(folder)
        assert [episode.num_steps for episode in read] == [3, 1, 4]
        for number, (episode, other) in enumerate(zip(read, expected, strict=True)):
            seen, known = episode.fields, other.observations
            pairs = {
                "camera": known["camera"],
                "deep/0": known["deep"][0],
                "deep/1": known["deep"][1],
                **{f"many/{i:02}": values for i, values in enumerate(known["many"])},
                "w~1pos": known["w/pos"],
                "nvec": known["nvec"],
            }
            for key, values in pairs.items():
                assert np.array_equal(seen[f"observation/{key}"], values[:-1]), key
            assert list(seen["observation/word"]) == list(known["word"])[:-1]
            assert np.array_equal(seen["action/0"], other.actions[0])
            assert np.array_equal(seen["action/1"], other.actions[1])
            assert np.array_equal(episode.rewards, other.rewards)
            named = episode.metadata
            assert (named.success, named.terminated, named.truncated) == (int(number == 2), False, True)
            assert (named.episode_id, named.source_uri) == (f"toy/set-v0/{number}", f"{folder}/data/{number}")
            assert episode.notes["final observation left out"] == 1
            assert episode.notes["observations/camera: image is from lossy JPEG"] == episode.num_steps

    def test_resize(self, made: tuple[Path, list[Any]]) -> None:
        open_source.cache_clear()
        source = open_source(f"minari:{made[0]}?resize=64x64")
        (spec,) = source.specs().values()
        assert spec.fields["observation/camera"] == ImageSpec((32, 48, 3), (64, 64))
        assert all(isinstance(result, Episode) for _, result in read_source(source))


@pytest.fixture
def folder(made: tuple[Path, list[Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "set"))


def form_of(folder: Path) -> str:
    return str(json.loads((folder / "data/metadata.json").read_text())["data_format"])


def rewritten(folder: Path, change: Callable[[Any], list[Any]]) -> None:
    """Write the rows of episode 2 again: `change` makes the tables of its fragments of the one that is there."""
    form = form_of(folder)
    (path,) = fragments(str(folder / "data/2"), form)
    from pipelines.sources.minari.arrow_episode import _READ

    table = _READ[form](path)
    os.unlink(path)
    for number, part in enumerate(change(table)):
        name = path.replace("part-0", f"part-{number}")
        if form == "parquet":
            pa.parquet.write_table(part, name)
            continue
        with pa.OSFile(name, "wb") as sink, pa.ipc.new_file(sink, part.schema) as writer:
            writer.write_table(part, max_chunksize=2)


def column(table: Any, name: str, values: Any) -> Any:
    return table.set_column(table.schema.get_field_index(name), name, values)


class TestFragments:
    def test_are_joined_in_the_order_of_their_numbers(self, folder: Path, made: tuple[Path, list[Any]]) -> None:
        """Twelve fragments, most of them empty, in a file of several batches each: part-2 comes before part-10."""
        cuts = [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]
        rewritten(folder, lambda t: [t.slice(a, b - a) for a, b in zip(cuts, [*cuts[1:], 5], strict=True)])
        found = results(folder)[2]
        assert isinstance(found, Episode), found
        assert np.array_equal(found.fields["action/0"], made[1][2].actions[0])

    def test_a_lost_fragment_is_a_reject(self, folder: Path) -> None:
        rewritten(folder, lambda t: [t.slice(0, 3)])
        found = results(folder)
        assert isinstance(found[2], Reject) and "has 3 rows, but its total_steps says 4" in found[2].message


FAULTS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda t: t.drop_columns(["actions"]), "episode_2/actions: missing"),
    (lambda t: t.drop_columns(["rewards"]), "episode_2/rewards: missing"),
    (lambda t: column(t, "rewards", pa.array([0.0, 1.0, np.nan, 1.0, 0.0])), "episode_2/rewards: nan is not finite"),
    (lambda t: column(t, "rewards", pa.array([0.0, None, 0.0, 1.0, 0.0])), "a timestep, got double with 1 values"),
    (lambda t: column(t, "rewards", pa.array(["a"] * 5)), "expected a number a timestep, got string"),
    (
        lambda t: column(t, "actions", pa.array([0] * 5)),
        "episode_2/actions: expected a struct with ['0', '1'], got int",
    ),
    (
        lambda t: column(t, "actions", pa.array([{"0": [0.0, 1.0], "2": 1}] * 5)),
        "expected a struct with ['0', '1'], got those of ['0', '2']",
    ),
    (lambda t: column(t, "actions", pa.array([{"0": [0.0], "1": 1}] * 5)), "actions/0: expected 2 numbers a timestep"),
    (lambda t: column(t, "actions", pa.array([{"0": [0.0, 1.0], "1": 9}] * 5)), "action/1: 9 at index"),
    (
        lambda t: column(t, "actions", pa.array([{"0": [0.0] * (i + 1), "1": 1} for i in range(5)])),
        "actions/0: expected",
    ),
    (lambda t: t.slice(0, 1), "the episode is empty: it has 1 rows"),
    (lambda t: t.slice(0, 0), "the episode has no rows"),
]


class TestFaults:
    @pytest.mark.parametrize(("change", "expected"), FAULTS)
    def test_each_costs_its_episode(self, folder: Path, change: Callable[[Any], Any], expected: str) -> None:
        rewritten(folder, lambda t: [change(t)])
        one, two, three = results(folder)
        assert isinstance(one, Episode) and isinstance(two, Episode)
        assert isinstance(three, Reject) and expected in three.message, three
        assert three.message.startswith(f"{folder}/data/2: ")

    def test_a_file_cut_anywhere_is_a_reject(self, folder: Path) -> None:
        (path,) = fragments(str(folder / "data/2"), form_of(folder))
        size = os.path.getsize(path)
        for cut in sorted({*range(0, size, size // 60), size - 1}, reverse=True):
            os.truncate(path, cut)
            one, two, three = results(folder)
            assert isinstance(one, Episode) and isinstance(two, Episode)
            assert isinstance(three, Reject) and "part-0" in three.message, (cut, three)

    def test_a_flipped_byte_costs_at_most_its_episode(self, folder: Path) -> None:
        (path,) = fragments(str(folder / "data/2"), form_of(folder))
        whole = Path(path).read_bytes()
        for place in np.random.default_rng(0).integers(0, len(whole), 60).tolist():
            data = bytearray(whole)
            data[place] ^= 0xFF
            Path(path).write_bytes(data)
            one, two, three = results(folder)
            assert isinstance(one, Episode) and isinstance(two, Episode)
            assert isinstance(three, Episode) or three.message.startswith(f"{folder}/data/2: ")

    def test_missing_files(self, folder: Path) -> None:
        shutil.rmtree(folder / "data/1")
        (path,) = fragments(str(folder / "data/2"), form_of(folder))
        os.unlink(path)
        one, two, three = results(folder)
        assert isinstance(one, Episode)
        assert "the episode is missing" in two.message and "no ." in three.message
        shutil.rmtree(folder)
        with pytest.raises(SourceError, match="is no Minari dataset"):
            results(folder)

    def test_metadata_that_cannot_be_read(self, folder: Path) -> None:
        (folder / "data/0/metadata.json").write_text("[")
        (folder / "data/1/metadata.json").unlink()
        one, two, three = results(folder)
        assert isinstance(one, Reject) and "metadata.json cannot be read" in one.message
        assert isinstance(two, Episode) and isinstance(three, Episode)


def test_one_worker_and_two_make_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for workers in ("1", "2"):
        assert convert("minari:set", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")

"""RobomimicSource: files in the layouts of robomimic, LIBERO and MimicGen, whole or damaged."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from limited import episodes_of, open_anew, read_source, results_of
from robomimic_files import h5py, pixels, write_demo, write_demos

from gato_tokenize import Episode, ImageSpec
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.formats import hdf5
from pipelines.sources.reading import Reject

MASKS = {"train": ["demo_10", "demo_2"], "valid": ["demo_1"], "20_percent": ["demo_2"]}


opened = functools.partial(open_anew, "robomimic")
results = functools.partial(results_of, "robomimic")
episodes = functools.partial(episodes_of, "robomimic")


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"robomimic:{write_demos(folder / 'low_dim.hdf5', masks=MASKS)}"


class TestEpisodes:
    def test_every_value_is_that_of_h5py(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5")
        found = episodes(path)
        assert [one.metadata.episode_id for one in found] == [f"{path}#demo_{number}" for number in range(12)]
        with h5py.File(path) as file:
            for number, one in enumerate(found):
                demo = file[f"data/demo_{number}"]
                assert set(one.fields) == {*(f"observation/{key}" for key in demo["obs"]), "action"}
                for key in demo["obs"]:
                    np.testing.assert_array_equal(one.fields[f"observation/{key}"], demo["obs"][key][()])
                np.testing.assert_array_equal(one.fields["action"], demo["actions"][()])
                np.testing.assert_array_equal(one.rewards, demo["rewards"][()])
        named = found[10].metadata
        assert (named.task, named.domain, named.source_index) == ("Lift", "robomimic", 10)
        assert (named.terminated, named.truncated, named.success, named.return_) == (True, False, 1, 1.0)

    def test_demo_2_comes_before_demo_10(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5")
        with h5py.File(path) as file:
            assert list(file["data"])[:3] == ["demo_0", "demo_1", "demo_10"]
        assert [one.metadata.episode_id.rpartition("_")[2] for one in episodes(path)] == [str(i) for i in range(12)]

    def test_success_is_unknown_where_rewards_are_shaped(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3, env_kwargs={"reward_shaping": True})
        assert {one.metadata.success for one in episodes(path)} == {-1}

    def test_an_episode_without_dones_and_rewards_ends_in_an_unknown_way(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3)
        with h5py.File(path, "a") as file:
            for demo in file["data"].values():
                del demo["dones"], demo["rewards"]
        (one, *_) = episodes(path)
        assert not one.metadata.terminated and not one.metadata.truncated and np.isnan(one.metadata.return_)

    def test_next_obs_is_ignored_and_other_arrays_are_noted(self, tmp_path: Path) -> None:
        source = opened(write_demos(tmp_path / "demo.hdf5"))
        assert not any("next_obs" in note for note in source.notes())
        assert any(note.startswith("the field states is left out") for note in source.notes())
        (spec,) = opened(tmp_path / "demo.hdf5", "?fields=states").specs().values()
        assert list(spec.observation_fields) == ["observation/states"]

    def test_another_array_is_the_action(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 0)
        with h5py.File(path, "a") as file:
            for number in range(3):
                write_demo(file["data"], number, 2, **{"action_dict/abs_pos": np.full((2, 3), 3.0)})
        one, *_ = episodes(path, "?action=action_dict/abs_pos")
        assert one.fields["action"].tolist() == [[3.0] * 3] * 2

    def test_observations_may_be_one_more_than_actions(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 0)
        with h5py.File(path, "a") as file:
            for number in range(3):
                write_demo(file["data"], number, 2)
                del file[f"data/demo_{number}/obs/object"]
                file[f"data/demo_{number}/obs/object"] = np.arange(3.0)[:, None]
        one, *_ = episodes(path)
        assert one.fields["observation/object"].tolist() == [[0.0], [1.0]]
        assert one.notes == {"final observation left out": 1}

    def test_each_environment_is_a_task_with_a_spec_of_its_own(self, tmp_path: Path) -> None:
        write_demos(tmp_path / "set" / "lift.hdf5", 2)
        path = write_demos(tmp_path / "set" / "sub" / "can.hdf5", 2, env_name="PickPlaceCan")
        with h5py.File(path, "a") as file:
            for demo in file["data"].values():
                del demo["obs/object"]
        found = episodes(tmp_path / "set")
        assert [one.metadata.task for one in found] == ["Lift", "Lift", "PickPlaceCan", "PickPlaceCan"]
        assert [len(spec.observation_fields) for spec in opened(tmp_path / "set").specs().values()] == [3, 2]


class TestPictures:
    @pytest.mark.parametrize(
        ("flip", "turned"),
        [("no", lambda x: x), ("vertical", lambda x: x[:, ::-1]), ("both", lambda x: x[:, ::-1, ::-1])],
    )
    def test_flip(self, tmp_path: Path, flip: str, turned: Callable[[Any], Any]) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3)
        one, *_ = episodes(path, f"?flip={flip}")
        np.testing.assert_array_equal(one.fields["observation/agentview_image"], turned(pixels(0, 2)))

    def test_only_what_is_kept_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = opened(write_demos(tmp_path / "demo.hdf5", 3), "?max_steps=1&fields=-observation/object")
        source.specs()
        read: list[tuple[str, int]] = []
        whole = h5py.Dataset.__getitem__

        def spied(node: Any, rows: Any) -> Any:
            values = whole(node, rows)
            read.append((node.name.rpartition("/")[2], len(values)))
            return values

        monkeypatch.setattr(h5py.Dataset, "__getitem__", spied)
        assert isinstance(read_source(source)[0][1], Episode)
        assert ("agentview_image", 1) in read and ("actions", 1) in read
        assert not {"object", "states"} & {name for name, _ in read}

    def test_resize(self, tmp_path: Path) -> None:
        (spec,) = opened(write_demos(tmp_path / "demo.hdf5", 3), "?resize=32x32").specs().values()
        assert spec.fields["observation/agentview_image"] == ImageSpec((16, 16, 3), (32, 32))

    def test_flip_of_other_arrays_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"option flip=both must be no, since observation/x is not \[h, w"):
            opened(write_demos(tmp_path / "demo.hdf5", 3), "?flip=both&roles=observation/x:frames")


class TestInstruction:
    @pytest.mark.parametrize("said", ["open the drawer", '"open the drawer"', ["open", "the", "drawer"]])
    def test_of_libero(self, tmp_path: Path, said: Any) -> None:
        path = write_demos(tmp_path / "KITCHEN_SCENE1_open_it_demo.hdf5", 3, problem=said)
        assert {one.metadata.instruction for one in episodes(path)} == {"open the drawer"}

    def test_of_the_file_name(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "LIVING_ROOM_SCENE2_pick_up_the_mug_demo.hdf5", 3)
        assert any("instruction=file_name makes it the instruction" in note for note in opened(path).notes())
        assert {one.metadata.instruction for one in episodes(path)} == {""}
        assert {one.metadata.instruction for one in episodes(path, "?instruction=file_name")} == {"pick up the mug"}

    def test_of_each_demonstration(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3)
        with h5py.File(path, "a") as file:
            for number in range(3):
                file[f"data/demo_{number}"].attrs["ep_meta"] = json.dumps({"lang": f"close {number}"})
            del file["data/demo_1"].attrs["ep_meta"]
        one, two, three = results(path)
        assert (one.metadata.instruction, three.metadata.instruction) == ("close 0", "close 2")
        assert isinstance(two, Reject) and "ep_meta/lang: missing" in two.message


class TestSplits:
    def test_masks_are_splits_and_other_masks_are_subsets(self, tmp_path: Path) -> None:
        source = opened(write_demos(tmp_path / "demo.hdf5", masks=MASKS))
        assert source.splits() == ("train", "validation")
        read = {candidate.episode_id.rpartition("#")[2]: candidate.split for candidate, _ in read_source(source)}
        assert read == {"demo_2": "train", "demo_10": "train", "demo_1": "validation"}
        assert list(read) == ["demo_1", "demo_2", "demo_10"]
        assert "the masks 20_percent are not used; splits= chooses masks" in source.notes()
        assert "9 demonstrations are in none of the masks train, valid" in source.notes()

    def test_a_mask_is_chosen(self, tmp_path: Path) -> None:
        source = opened(write_demos(tmp_path / "demo.hdf5", masks=MASKS), "?splits=20_percent:train")
        assert [(c.episode_id[-6:], c.split) for c, _ in read_source(source)] == [("demo_2", "train")]

    def test_masks_that_share_a_demonstration_are_refused(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", masks=MASKS)
        with pytest.raises(SourceError, match="demo_2 is in the masks 20_percent and train: choose masks"):
            opened(path, "?splits=train,20_percent").partitions()

    def test_a_name_that_is_not_there_is_a_reject(self, tmp_path: Path) -> None:
        masks = {"train": ["demo_0", "demo_99", "../mask"]}
        one, *others = results(write_demos(tmp_path / "demo.hdf5", 3, masks=masks))
        assert isinstance(one, Episode)
        messages = [other.message.partition(": ")[2] for other in others]
        assert messages == ["data/../mask: '../mask' is no name of a member", "data/demo_99: missing"]

    def test_a_file_without_masks_beside_one_with_masks_is_train(self, tmp_path: Path) -> None:
        write_demos(tmp_path / "set" / "a.hdf5", 3, masks={"train": ["demo_0"], "valid": ["demo_1"]})
        write_demos(tmp_path / "set" / "b.hdf5", 2)
        splits = [candidate.split for candidate, _ in read_source(opened(tmp_path / "set"))]
        assert splits == ["train", "validation", "train", "train"]


def replaced(demo: Any, key: str, values: Any, **kind: Any) -> None:
    del demo[key]
    demo.create_dataset(key, data=values, **kind)


def linked(demo: Any, key: str, link: Any) -> None:
    del demo[key]
    demo[key] = link


RAGGED = np.array([np.arange(2.0), np.arange(3.0), np.arange(1.0)], dtype=object)
FAULTS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda d: d.pop("actions"), "data/demo_1/actions: missing"),
    (lambda d: d.pop("obs"), "data/demo_1/obs: missing"),
    (lambda d: d["obs"].pop("object"), "data/demo_1/obs/object: missing"),
    (lambda d: replaced(d, "actions", np.zeros((2, 7))), "has 2 actions, but its num_samples says 3"),
    (lambda d: replaced(d, "actions", np.full((3, 7), np.nan)), "action: nan at index [0, 0]"),
    (lambda d: replaced(d, "actions", np.zeros((3, 6))), "action: expected"),
    (lambda d: replaced(d, "actions", 1.0), "data/demo_1/actions: expected an array with a time axis"),
    (lambda d: replaced(d, "rewards", [0.0, 1.0]), "data/demo_1/rewards: expected 3 entries, one a timestep, got 2"),
    (lambda d: replaced(d, "rewards", [0.0, np.inf, 1.0]), "rewards: inf is not finite"),
    (lambda d: replaced(d, "dones", ["a", "b", "c"]), "data/demo_1/dones: expected a number a timestep, got object"),
    (lambda d: replaced(d["obs"], "object", np.zeros((2, 10))), "observation/object: 2 values, but action has 3"),
    (lambda d: replaced(d["obs"], "object", RAGGED, dtype=h5py.vlen_dtype(np.float64)), "observation/object: "),
    (lambda d: linked(d, "actions", h5py.SoftLink("/data/demo_0/actions")), "actions: is a link"),
    (lambda d: linked(d["obs"], "object", h5py.ExternalLink("../../other.hdf5", "/x")), "object: is a link"),
    (lambda d: linked(d.parent, "demo_1", h5py.ExternalLink("other.hdf5", "/")), "data/demo_1: is a link"),
    (lambda d: linked(d.parent, "demo_1", np.zeros(3)), "data/demo_1/actions: missing"),
]


class TestFaults:
    @pytest.mark.parametrize(("change", "expected"), FAULTS)
    def test_each_costs_its_episode(self, tmp_path: Path, change: Callable[[Any], Any], expected: str) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3)
        with h5py.File(path, "a") as file:
            change(file["data/demo_1"])
        one, two, three = results(path)
        assert isinstance(one, Episode) and isinstance(three, Episode)
        assert isinstance(two, Reject) and expected in two.message and two.message.startswith(str(path)), two

    def test_arrays_that_are_no_field_are_named(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 0)
        with h5py.File(path, "a") as file:
            for number in range(3):
                write_demo(file["data"], number, 3, short=np.zeros(7), none=np.zeros((3, 0)))
                demo = file[f"data/demo_{number}"]
                demo.create_dataset("obs/ragged", data=RAGGED, dtype=h5py.vlen_dtype(np.float64))
                demo["obs/elsewhere"] = h5py.ExternalLink("../secret.hdf5", "/x")
        notes = "\n".join(opened(path).notes())
        assert "observation/ragged is left out: its values are objects of any length, no numbers (dtype obj" in notes
        assert "observation/elsewhere is left out: is a link, perhaps into another file" in notes
        assert "short is left out: it has 7 entries, and the episode 3 timesteps" in notes
        assert "none is left out: an array without elements" in notes
        assert len(episodes(path)) == 3

    def test_a_first_demonstration_that_is_damaged_is_passed_over_when_planning(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3)
        with h5py.File(path, "a") as file:
            del file["data/demo_0/actions"]
        assert [type(one) for one in results(path)] == [Reject, Episode, Episode]

    def test_what_is_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no file below"):
            opened(tmp_path).specs()
        path = tmp_path / "other.hdf5"
        with h5py.File(path, "w") as file:
            file["observations"] = [1]
        with pytest.raises(SourceError, match="is not in the layout of robomimic: it has no data, but observations"):
            opened(path).specs()
        with pytest.raises(SourceError, match="no demonstration can be read: it has none"):
            opened(write_demos(tmp_path / "empty.hdf5", 0)).specs()
        (tmp_path / "zero.hdf5").write_bytes(b"")
        with pytest.raises(SourceError, match=r"zero\.hdf5 cannot be read"):
            opened(tmp_path / "zero.hdf5").specs()

    def test_a_file_cut_anywhere_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5, "call_forked", lambda function, limit: function())
        path = write_demos(tmp_path / "demo.hdf5", 2)
        size = path.stat().st_size
        for cut in sorted({*range(0, size, size // 60), size - 1}, reverse=True):
            os.truncate(path, cut)
            with pytest.raises(SourceError, match=r"demo\.hdf5 cannot be read"):
                opened(path).specs()

    def test_a_flipped_byte_is_an_error_a_reject_or_a_value(self, tmp_path: Path) -> None:
        """HDF5 has no checksums here; whatever a byte does, the source names the file or reads as many episodes."""
        path = write_demos(tmp_path / "demo.hdf5", 3)
        whole = path.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
            data = bytearray(whole)
            data[place] ^= 0xFF
            path.write_bytes(data)
            try:
                found = results(path)
            except SourceError as error:
                assert str(path) in str(error)
                continue
            assert all(isinstance(one, Episode) or str(path) in one.message for one in found)

    def test_a_missing_file_in_the_middle_costs_its_episodes(self, tmp_path: Path) -> None:
        for name in "abc":
            write_demos(tmp_path / f"{name}.hdf5", 2)
        source = opened(tmp_path)
        parts = source.partitions()
        (tmp_path / "b.hdf5").unlink()
        found = [c.load for part in parts for c in source.candidates(part)]
        for number, load in enumerate(found):
            if number in (2, 3):
                with pytest.raises(OSError, match=r"b\.hdf5"):
                    load()
            else:
                assert isinstance(load(), Episode)

    def test_a_file_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        path = write_demos(tmp_path / "demo.hdf5", 3)
        source = opened(path)
        (part,) = source.partitions()
        write_demos(path, 4)
        with pytest.raises(ValueError, match="has changed since it was planned"):
            next(source.candidates(part)).load()


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_demos(Path("demo.hdf5"), masks=MASKS)
    for workers in ("1", "2"):
        assert convert("robomimic:demo.hdf5", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")

"""RosbagSource: bags of ROS 1 and ROS 2 hold what MCAP files of the same messages hold; damaged ones."""

import functools
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, tree
from limited import episodes_of, open_anew, results_of

pytest.importorskip("rosbags")
pytest.importorskip("mcap_ros2")

from recording_files import (
    Sent,
    in_order,
    robot,
    write_humble_bag,
    write_ros1_bag,
    write_ros2,
    write_ros2_bag,
)
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode

from gato_tokenize import Episode
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.recognition import named_source

opened = functools.partial(open_anew, "rosbag")
results = functools.partial(results_of, "rosbag")
episodes = functools.partial(episodes_of, "rosbag")
CMD = "?action=/cmd_vel"
MARK = "rosbag2_bagfile_information"
ZSTD = CompressionFormat.ZSTD


class TestContractOfRos1(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        for number in range(3):
            write_ros1_bag(folder / f"{number}.bag", robot(0.5 + number / 2, instruction=f"task {number}"))
        return f"rosbag:{folder}{CMD}"


class TestContractOfRos2(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        write_ros2_bag(folder / "0", robot(0.5))
        write_ros2_bag(folder / "1", robot(1.0), "mcap")
        write_humble_bag(folder / "2", robot(1.5), files=2)
        return f"rosbag:{folder}{CMD}"


def same(one: Episode, two: Episode) -> None:
    assert one.spec == two.spec and one.notes == two.notes
    for path, values in two.fields.items():
        np.testing.assert_array_equal(np.array(one.fields[path]), np.array(values))


WRITERS = {
    "ros1": lambda folder: write_ros1_bag(folder.with_suffix(".bag")),
    "ros1-bz2": lambda folder: write_ros1_bag(folder.with_suffix(".bag"), None, Ros1Writer.CompressionFormat.BZ2),
    "ros1-lz4": lambda folder: write_ros1_bag(folder.with_suffix(".bag"), None, Ros1Writer.CompressionFormat.LZ4),
    "sqlite": write_ros2_bag,
    "sqlite-messages": lambda folder: write_ros2_bag(folder, compression=(CompressionMode.MESSAGE, ZSTD)),
    "sqlite-file": lambda folder: write_ros2_bag(folder, compression=(CompressionMode.FILE, ZSTD)),
    "mcap": lambda folder: write_ros2_bag(folder, None, "mcap"),
    "mcap-chunks": lambda folder: write_ros2_bag(folder, None, "mcap", compression=(CompressionMode.STORAGE, ZSTD)),
    "humble": write_humble_bag,
    "humble-files": lambda folder: write_humble_bag(folder, files=3),
}


class TestBags:
    """Bags of ROS 2 Humble state the quality of service of topics in metadata.yaml otherwise than in their databases;
    then the reader of `rosbags` passes over every message."""

    @pytest.mark.parametrize("how", WRITERS)
    @pytest.mark.parametrize("options", ["", "&fps=7.5"])
    def test_each_kind_of_bag_holds_what_an_mcap_file_holds(self, tmp_path: Path, how: str, options: str) -> None:
        (expected,) = episodes_of("mcap", write_ros2(tmp_path / "a.mcap"), CMD + options)
        path = WRITERS[how](tmp_path / "bag")
        (one,) = episodes(path, CMD + options)
        same(one, expected)
        assert one.metadata.episode_id == str(path) and one.metadata.domain == "rosbag"

    def test_the_values_are_those_of_rosbags_own_reader(self, tmp_path: Path) -> None:
        for path in (write_ros1_bag(tmp_path / "a.bag"), write_humble_bag(tmp_path / "b")):
            (one,) = episodes(path, CMD + "&fields=/joint_states")
            if path.suffix:  # AnyReader reads no bag of ROS 2 without definitions
                with AnyReader([path]) as reader:
                    found = [
                        (time, reader.deserialize(data, connection.msgtype).position)
                        for connection, time, data in reader.messages()
                        if connection.topic == "/joint_states"
                    ]
                    commands = [time for connection, time, _ in reader.messages() if connection.topic == "/cmd_vel"]
                places = np.searchsorted([time for time, _ in found], commands, "right") - 1
                np.testing.assert_array_equal(
                    one.fields["observation/joint_states/position"], [found[i][1] for i in places]
                )
            assert one.num_steps == 20

    def test_a_database_without_its_folder(self, tmp_path: Path) -> None:
        folder = write_ros2_bag(tmp_path / "bag")
        (expected,) = episodes(folder, CMD)
        (folder / "metadata.yaml").unlink()
        (one,) = episodes(folder / "bag.db3", CMD)
        np.testing.assert_array_equal(one.fields["action"], expected.fields["action"])

    def test_custom_data_may_be_the_instruction(self, tmp_path: Path) -> None:
        sent = [one for one in robot() if one.topic != "/instruction"]
        path = write_ros2_bag(tmp_path / "bag", sent, custom={"task_description": "pour", "site": "lab"})
        assert episodes(path, CMD)[0].metadata.instruction == "pour"
        assert episodes(path, CMD + "&instruction=metadata/site")[0].metadata.instruction == "lab"

    def test_which_bags_there_are(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("runs/deep").mkdir(parents=True)
        write_ros1_bag(Path("runs/deep/one.bag"))
        write_ros2_bag(Path("runs/two"))
        write_ros2_bag(Path("runs/three"), None, "mcap")
        shutil.copy("runs/two/two.db3", "runs/lone.db3")
        Path("runs/notes.txt").write_text("x")
        every = ["runs/deep/one.bag", "runs/lone.db3", "runs/three", "runs/two"]
        assert [
            one.episode_id
            for p in opened(Path("runs"), CMD).partitions()
            for one in opened(Path("runs"), CMD).candidates(p)
        ] == every
        for pattern, found in {
            "runs/t*": ["runs/three", "runs/two"],
            "runs/two": ["runs/two"],
            "runs/**/*.bag": ["runs/deep/one.bag"],
        }.items():
            source = opened(Path(pattern), CMD)
            assert [file[0] for part in source.partitions() for file in part["files"]] == found
        for path in ("runs", "runs/two", "runs/deep/one.bag", "runs/lone.db3", "runs/three"):
            assert named_source(path) == f"rosbag:{path}"
        with pytest.raises(
            SourceError, match=r"no bag matches 'none': a \.bag or \.db3 file, or a folder with metadata"
        ):
            opened(Path("none")).specs()


class TestFaults:
    @pytest.mark.parametrize("how", ["ros1", "ros1-bz2", "sqlite", "mcap"])
    def test_a_cut_anywhere_costs_its_episode_alone(self, tmp_path: Path, how: str) -> None:
        sound = WRITERS[how](tmp_path / "a")
        bad = WRITERS[how](tmp_path / "b")
        file = bad if bad.is_file() else next(bad.glob("b.*"))
        whole = file.read_bytes()
        for cut in {*range(0, len(whole), len(whole) // 8), len(whole) - 1}:
            file.write_bytes(whole[:cut])
            one, two = results(tmp_path, CMD)
            assert isinstance(one, Episode) and isinstance(two, Reject), (cut, len(whole))
            assert two.message.startswith(f"{bad}: ") and sound != bad

    def test_a_changed_byte_in_a_packed_chunk_is_found(self, tmp_path: Path) -> None:
        """Bags have no checksums of their own; bz2 has."""
        path = WRITERS["ros1-bz2"](tmp_path / "a")
        (expected,) = episodes(path, CMD)
        whole = path.read_bytes()
        for place in np.random.default_rng(1).integers(0, len(whole), 20).tolist():
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
            try:
                (one,) = results(path, CMD)
            except SourceError as error:
                assert str(path) in str(error) or "field" in str(error)
                continue
            if isinstance(one, Episode):
                np.testing.assert_array_equal(one.fields["action"], expected.fields["action"])
            else:
                assert one.message.startswith(f"{path}: ")

    def test_a_bag_without_an_index(self, tmp_path: Path) -> None:
        """So a recorder leaves it that was killed: the place of the index is 0."""
        write_ros1_bag(tmp_path / "a.bag")
        path = write_ros1_bag(tmp_path / "b.bag")
        whole = path.read_bytes()
        place = whole.index(b"index_pos=") + len(b"index_pos=")
        path.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
        reject = results(tmp_path, CMD)[1]
        assert "it has no index, because its recorder did not close it; " in reject.message
        assert "rosbag reindex FILE" in reject.message

    def test_a_database_that_was_not_closed(self, tmp_path: Path) -> None:
        write_ros2_bag(tmp_path / "a")
        path = write_ros2_bag(tmp_path / "b")
        (path / "b.db3-wal").write_bytes(b"x")
        assert "b.db3-wal shows that its recorder did not close it" in results(tmp_path, CMD)[1].message

    def test_a_database_that_lost_messages(self, tmp_path: Path) -> None:
        write_ros2_bag(tmp_path / "a")
        path = write_ros2_bag(tmp_path / "b")
        with sqlite3.connect(path / "b.db3") as database:
            database.execute("DELETE FROM messages WHERE id = (SELECT max(id) FROM messages WHERE topic_id = 3)")
        database.close()
        assert "messages, and the index states" in results(tmp_path, CMD)[1].message

    @pytest.mark.parametrize(
        "text", ["", "rosbag2_bagfile_information:\n", "{", "rosbag2_bagfile_information: {version: 99}"]
    )
    def test_metadata_that_is_damaged(self, tmp_path: Path, text: str) -> None:
        write_ros2_bag(tmp_path / "a")
        path = write_ros2_bag(tmp_path / "b")
        (path / "metadata.yaml").write_text(text)
        one, two = results(tmp_path, CMD)
        assert isinstance(one, Episode) and isinstance(two, Reject) and two.message.startswith(f"{path}: ")

    def test_a_missing_database(self, tmp_path: Path) -> None:
        write_ros2_bag(tmp_path / "a")
        path = write_humble_bag(tmp_path / "b", files=2)
        (path / "b_1.db3").unlink()
        assert "database files are missing" in results(tmp_path, CMD)[1].message

    def test_a_type_that_neither_the_bag_nor_ros_defines(self, tmp_path: Path) -> None:
        path = write_humble_bag(tmp_path / "a")
        for name in ("a.db3", "a_0.db3"):
            if (path / name).exists():
                with sqlite3.connect(path / name) as database:
                    database.execute("UPDATE topics SET type = 'toy/msg/Own' WHERE name = '/rosout'")
                database.close()
        text = (path / "metadata.yaml").read_text()
        place = text.index('"/rosout"')
        (path / "metadata.yaml").write_text(
            text[:place] + text[place:].replace("std_msgs/msg/String", "toy/msg/Own", 1)
        )
        assert episodes(path, CMD)[0].num_steps == 20
        assert any("toy/msg/Own is not defined in the recording" in note for note in opened(path, CMD).notes())

    def test_a_bag_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        path = write_ros2_bag(tmp_path / "a")
        (part,) = (source := opened(path, CMD)).partitions()
        (path / "more.txt").write_text("x")
        ((_, reject),) = read_partition(source, part)
        assert isinstance(reject, Reject) and "has changed since it was planned" in reject.message

    def test_a_topic_of_two_publishers(self, tmp_path: Path) -> None:
        sent = [one for one in robot() if one.topic != "/rosout"]
        sent += [Sent("/log", "std_msgs/msg/String", 0.0, {"data": "x"})]
        assert episodes(write_ros1_bag(tmp_path / "a.bag", in_order(sent)), CMD)[0].num_steps == 20


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    for number in range(6):
        write_ros1_bag(Path(f"set/{number}.bag"), robot(2.0, side=128, instruction=f"task {number}"))
        write_humble_bag(Path(f"set/{number}"), robot(2.0, side=128, instruction=f"task {number}"))
    for workers in ("1", "2"):
        assert convert("rosbag:set?action=/cmd_vel", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")

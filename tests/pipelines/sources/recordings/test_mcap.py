"""McapSource: topics with clocks of their own become timesteps; whole files and damaged ones."""

import base64
import functools
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from limited import episodes_of, open_anew, results_of

pytest.importorskip("mcap_ros2")
pytest.importorskip("mcap_protobuf")

from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType
from mcap_ros2.decoder import DecoderFactory
from recording_files import (
    JOINTS,
    START,
    Sent,
    as_cdr,
    as_json,
    as_ros1,
    in_order,
    joints,
    jpeg,
    picture_file,
    pixels,
    raw,
    robot,
    twist,
    write_encoded,
    write_ros2,
)

from gato_tokenize import Episode, ImageTokenizer
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.stats.lints import STALE_VALUES

opened = functools.partial(open_anew, "mcap")
results = functools.partial(results_of, "mcap")
episodes = functools.partial(episodes_of, "mcap")
CMD = "?action=/cmd_vel"
CAMERA, POSITION = "observation/camera/compressed", "observation/joint_states/position"


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        for number in range(3):
            write_ros2(folder / f"{number}.mcap", robot(0.5 + number / 2, instruction=f"task {number}"))
        return f"mcap:{folder}{CMD}"


def one_episode(path: Path, options: str = CMD) -> Episode:
    (found,) = episodes(path, options)
    return found


def oracle(path: Path, topic: str) -> tuple[Any, list[Any]]:
    """(times in nanoseconds, messages) of a topic, by mcap-ros2-support."""
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        found = [(one.message.log_time, one.decoded_message) for one in reader.iter_decoded_messages([topic])]
    return np.array([time for time, _ in found]), [message for _, message in found]


class TestTimesteps:
    @pytest.mark.parametrize(
        "options", ["", "&fps=10", "&fps=7.5", "&fps=100", "&action_at=next", "&fps=13&action_at=next"]
    )
    def test_each_value_is_that_of_the_last_message_at_or_before_its_timestep(
        self, tmp_path: Path, options: str
    ) -> None:
        path = write_ros2(tmp_path / "a.mcap", robot(2.0))
        one = one_episode(path, CMD + options)
        commands, sent = oracle(path, "/cmd_vel")
        times = commands
        if "fps" in options:
            fps = float(options.split("&")[1].removeprefix("fps="))
            ticks = [commands[0] + round(k * 1e9 / fps) for k in range(1000)]
            times = np.array([tick for tick in ticks if tick <= commands[-1]])
        observed, acted = (times[:-1], times[1:]) if "next" in options else (times, times)
        assert one.num_steps == len(observed)
        moved = [sent[i] for i in np.searchsorted(commands, acted, "right") - 1]
        expected = [[m.linear.x, 0, m.linear.z, 0, 0, m.angular.z] for m in moved]
        np.testing.assert_array_equal(one.fields["action"], expected)
        stamps, states = oracle(path, "/joint_states")
        held = [states[i].position for i in np.searchsorted(stamps, observed, "right") - 1]
        np.testing.assert_array_equal(one.fields[POSITION], held)
        stamps, pictures = oracle(path, "/camera/compressed")
        for i, picture in zip(np.searchsorted(stamps, observed, "right") - 1, one.fields[CAMERA], strict=True):
            assert picture == pictures[i].data

    def test_a_case_by_hand(self, tmp_path: Path) -> None:
        """The instruction comes at 0.1 s, so the command at 0.05 s comes too early; the last command ends it."""
        sent = [joints(0.0), Sent("/cmd_vel", "geometry_msgs/msg/Twist", 0.05, twist(0.05)), joints(0.1)]
        sent += [Sent("/say", "std_msgs/msg/String", 0.1, {"data": "go"})]
        sent += [Sent("/cmd_vel", "geometry_msgs/msg/Twist", t, twist(t)) for t in (0.2, 0.3, 0.5)]
        sent += [joints(0.3), joints(0.9)]
        path = write_ros2(tmp_path / "a.mcap", in_order(sent))
        one = one_episode(path, f"{CMD}&instruction=/say")
        np.testing.assert_allclose(one.fields["action"][:, 0], [0.2, 0.3, 0.5])
        np.testing.assert_allclose(one.fields[POSITION][:, 0], [0.1, 0.3, 0.3])
        assert one.notes == {"messages of the action before each topic had one, left out": 1}
        assert one.metadata.instruction == "go" and not one.metadata.terminated and not one.metadata.truncated
        one = one_episode(path, f"{CMD}&instruction=/say&fps=10")
        assert one.notes["messages of the action before each topic had one, left out"] == 1
        np.testing.assert_allclose(one.fields["action"][:, 0], [0.05, 0.2, 0.3, 0.3, 0.5])
        np.testing.assert_allclose(one.fields[POSITION][:, 0], [0.1, 0.1, 0.3, 0.3, 0.3])

    def test_messages_of_one_time_are_of_one_timestep_in_whatever_order(self, tmp_path: Path) -> None:
        sent = [Sent("/cmd_vel", "geometry_msgs/msg/Twist", t, twist(t)) for t in (0.0, 0.1)]
        for order in (1, -1):
            path = write_ros2(tmp_path / "a.mcap", in_order([*sent, joints(0.0), joints(0.1)][::order]))
            one = one_episode(path)
            np.testing.assert_allclose(one.fields[POSITION][:, 0], [0.0, 0.1])

    def test_a_topic_that_falls_silent_is_counted_and_may_cost_the_episode(self, tmp_path: Path) -> None:
        sent = [one for one in robot(2.0) if one.topic != "/camera/compressed" or one.time < 1.01]
        path = write_ros2(tmp_path / "a.mcap", sent)
        one = one_episode(path, CMD + "&fps=10")
        ages = [tick / 10 + 0.01 - 1.0 for tick in range(20)]
        assert one.notes == {STALE_VALUES: sum(age > 0.2 for age in ages)} and one.notes[STALE_VALUES] == 8
        assert one_episode(path, CMD + "&fps=10&max_age=1").num_steps == 20
        (reject,) = results(path, CMD + "&fps=10&max_age=0.5")
        assert "/camera/compressed: its last message is 0.510 s old" in reject.message

    def test_max_steps_reads_no_picture_beyond_them(self, tmp_path: Path) -> None:
        sent = robot(1.0)
        last = [one for one in sent if one.topic == "/camera/compressed"][5]
        sent[sent.index(last)] = last._replace(content=jpeg(0.0) | {"data": b"\xff\xd8\xff spoilt"})
        path = write_ros2(tmp_path / "a.mcap", sent)
        assert isinstance(results(path, CMD + "&resize=16x16")[0], Reject)
        one = one_episode(path, CMD + "&resize=16x16&max_steps=3")
        assert one.num_steps == 3 and one.metadata.truncated
        assert one.notes["timesteps beyond max_steps left out"] == 17

    @pytest.mark.parametrize("form", ["JPEG", "PNG"])
    def test_files_that_are_decoded_here_are_noted_as_lossy_if_they_are(self, tmp_path: Path, form: str) -> None:
        sent = [
            one._replace(content=jpeg(0.0) | {"data": picture_file(one.time, form=form)})
            if "/camera" in one.topic
            else one
            for one in robot(0.5)
        ]
        path = write_ros2(tmp_path / "a.mcap", sent)
        notes = one_episode(path, CMD + "&resize=16x16").notes
        assert notes["observation/camera/compressed: image resized while it was read"] == 10
        assert ("observation/camera/compressed: image is from lossy JPEG" in notes) == (form == "JPEG")

    def test_the_episode_ends_with_the_last_action(self, tmp_path: Path) -> None:
        sent = [one for one in robot(3.0) if one.topic != "/cmd_vel" or one.time < 1.0]
        assert one_episode(write_ros2(tmp_path / "a.mcap", sent), CMD + "&fps=20").num_steps == 20


class TestFields:
    def test_topics_may_be_named_as_topics(self, tmp_path: Path) -> None:
        path = write_ros2(tmp_path / "a.mcap")
        spec = opened(path, CMD + "&fields=/camera/compressed").specs()[
            f"{tmp_path.name}/fields=/camera/compressed/action=/cmd_vel"
        ]
        assert set(spec.fields) == {CAMERA, "observation/instruction", "action"}
        (spec,) = opened(path, CMD + "&fields=-/joint_states&instruction=/rosout").specs().values()
        assert set(spec.fields) == {CAMERA, "observation/instruction", "action"}
        (spec,) = opened(path, "?action=/cmd_vel,/joint_states&instruction=none").specs().values()
        assert set(spec.fields) == {
            CAMERA,
            "action/observation/cmd_vel",
            "action/observation/joint_states/position",
            "action/observation/joint_states/velocity",
        }

    def test_a_topic_called_action_is_the_action(self, tmp_path: Path) -> None:
        sent = [one._replace(topic="/arm/action") if one.topic == "/cmd_vel" else one for one in robot()]
        path = write_ros2(tmp_path / "a.mcap", sent)
        assert one_episode(path, "").fields["action/arm/action"].shape == (20, 6)
        with pytest.raises(SourceError, match="no field is the action: choose it by action=PATH"):
            opened(write_ros2(tmp_path / "a.mcap")).specs()

    def test_raw_and_compressed_pictures_of_one_camera(self, tmp_path: Path) -> None:
        more = [Sent("/camera", "sensor_msgs/msg/Image", t, raw(pixels(t), "rgb8")) for t in (0.0, 0.5)]
        path = write_ros2(tmp_path / "a.mcap", in_order(robot() + more))
        assert set(one_episode(path).fields) >= {"observation/camera/data"}
        assert CAMERA not in one_episode(path).fields
        assert any("the same pictures as those of /camera;" in note for note in opened(path, CMD).notes())
        kept = one_episode(path, CMD + "&fields=/camera/compressed").fields
        assert CAMERA in kept and "observation/camera/data" not in kept
        kept = one_episode(path, CMD + "&fields=/camera").fields
        assert CAMERA not in kept and "observation/camera/data" in kept

    def test_joints_come_in_the_order_of_the_first_message(self, tmp_path: Path) -> None:
        cmd = [Sent("/cmd_vel", "geometry_msgs/msg/Twist", t, twist(t)) for t in (0.0, 0.1, 0.2)]
        write_ros2(tmp_path / "0.mcap", in_order([*cmd, joints(0.0), joints(0.1, JOINTS[::-1])]))
        write_ros2(tmp_path / "1.mcap", in_order([*cmd, joints(0.0, JOINTS[1:] + JOINTS[:1])]))
        write_ros2(tmp_path / "2.mcap", in_order([*cmd, joints(0.0), joints(0.1, ["shoulder", "gripper", "wrist"])]))
        first, second, third = results(tmp_path, CMD)
        np.testing.assert_allclose(first.fields[POSITION][1], [0.1, 0.2, 0.3])
        np.testing.assert_allclose(second.fields[POSITION][0], [0, 0, 0])
        assert "expected the joints shoulder, elbow, wrist, got shoulder, gripper, wrist" in third.message

    def test_the_range_of_the_action_comes_from_the_whole_recording(self, tmp_path: Path) -> None:
        """It stands still at first: a look at the first messages alone would see nothing."""
        sent = [Sent("/cmd_vel", "geometry_msgs/msg/Twist", t / 1000, twist(0.0)) for t in range(8000)]
        sent += [Sent("/cmd_vel", "geometry_msgs/msg/Twist", 8 + t / 1000, twist(3.0)) for t in range(2000)]
        (spec,) = opened(write_ros2(tmp_path / "a.mcap", in_order([*sent, joints(0.0)])), CMD).specs().values()
        assert spec.action.high[0] == 4.0

    def test_metadata_may_be_the_instruction(self, tmp_path: Path) -> None:
        sent = [one for one in robot() if one.topic != "/instruction"]
        path = write_encoded(
            tmp_path / "a.mcap", as_cdr(sent), metadata={"episode": {"instruction": "pour", "by": "me"}}
        )
        assert one_episode(path).metadata.instruction == "pour"
        assert one_episode(path, CMD + "&instruction=metadata/episode/by").metadata.instruction == "me"

    @pytest.mark.parametrize(
        ("encoding", "values", "step", "expected"),
        [
            ("rgb8", lambda p: p, 0, lambda p: p),
            ("bgr8", lambda p: p[..., ::-1], 0, lambda p: p),
            ("rgba8", lambda p: np.dstack([p, p[..., :1]]), 0, lambda p: p),
            ("bgra8", lambda p: np.dstack([p[..., ::-1], p[..., :1]]), 0, lambda p: p),
            ("mono8", lambda p: p[..., 1], 0, lambda p: p[..., 1]),
            ("rgb8", lambda p: p, 200, lambda p: p),
        ],
    )
    def test_pixels(self, tmp_path: Path, encoding: str, values: Any, step: int, expected: Any) -> None:
        shown = Sent("/eye", "sensor_msgs/msg/Image", 0.0, raw(values(pixels(1.0)), encoding, step))
        path = write_ros2(tmp_path / "a.mcap", [shown, *robot(0.2)])
        np.testing.assert_array_equal(one_episode(path).fields["observation/eye"][0], expected(pixels(1.0)))
        picture = one_episode(path, CMD + "&resize=16x16").fields["observation/eye"][0]
        resized = ImageTokenizer(16, 16).encode(np.ascontiguousarray(expected(pixels(1.0))))
        np.testing.assert_array_equal(ImageTokenizer(16, 16).encode(picture).pixels, resized.pixels)

    @pytest.mark.parametrize("big", [False, True])
    def test_depth_is_left_out_unless_asked_for(self, tmp_path: Path, big: bool) -> None:
        depth = (np.arange(32 * 32).reshape(32, 32) * 60).astype(">u2" if big else "<u2")
        shown = Sent("/depth", "sensor_msgs/msg/Image", 0.0, raw(depth, "16UC1", big=big))
        path = write_ros2(tmp_path / "a.mcap", [shown, *robot(0.2)])
        assert any(
            "field observation/depth is left out: its 1024 numbers" in note for note in opened(path, CMD).notes()
        )
        (episode,) = results(path, CMD + "&fields=/depth")
        np.testing.assert_array_equal(episode.fields["observation/depth"][0], depth)

    @pytest.mark.parametrize(
        ("kind", "content", "why"),
        [
            ("sensor_msgs/msg/Image", raw(pixels(0.0), "bayer_rggb8"), "pictures in the encoding 'bayer_rggb8'"),
            ("sensor_msgs/msg/CompressedImage", jpeg(0.0) | {"format": "h264"}, "video .h264., whose frames need"),
            (
                "sensor_msgs/msg/CompressedImage",
                jpeg(0.0) | {"format": "16UC1; compressedDepth png"},
                "compressedDepth",
            ),
            ("sensor_msgs/msg/CompressedImage", jpeg(0.0) | {"data": b"none"}, "not a PNG, JPEG"),
            (
                "sensor_msgs/msg/Image",
                raw(pixels(0.0), "rgb8") | {"height": 99},
                "99x32 in rgb8, 96 bytes a row, has 3072",
            ),
        ],
    )
    def test_pictures_that_are_not_read(self, tmp_path: Path, kind: str, content: Any, why: str) -> None:
        path = write_ros2(tmp_path / "a.mcap", [Sent("/eye", kind, 0.0, content), *robot(0.2)])
        assert "observation/eye" not in one_episode(path).fields
        with pytest.raises(SourceError, match=f"observation/eye cannot be read: .*{why}"):
            opened(path, CMD + "&fields=/eye").specs()

    def test_values_whose_number_changes(self, tmp_path: Path) -> None:
        more = [Sent("/scan", "std_msgs/msg/String", t, {"data": "x"}) for t in (0.0, 0.1)]
        rows = [{"layout": {"dim": [], "data_offset": 0}, "data": [1.0] * (3 + i)} for i in range(2)]
        more = [
            one._replace(kind="std_msgs/msg/Float64MultiArray", content=row)
            for one, row in zip(more, rows, strict=True)
        ]
        path = write_ros2(tmp_path / "a.mcap", in_order(robot() + more))
        assert any(
            "field observation/scan is left out: the number of its values changes" in x
            for x in opened(path, CMD).notes()
        )


class TestEncodings:
    @pytest.mark.parametrize("encoded", [as_cdr, as_ros1])
    @pytest.mark.parametrize("compression", CompressionType)
    def test_ros_1_is_as_ros_2(self, tmp_path: Path, encoded: Any, compression: CompressionType) -> None:
        expected = one_episode(write_ros2(tmp_path / "a.mcap"))
        found = one_episode(write_encoded(tmp_path / "b.mcap", encoded(robot()), compression=compression))
        assert found.spec == expected.spec
        for path, values in expected.fields.items():
            np.testing.assert_array_equal(np.array(found.fields[path]), np.array(values))

    def test_idl(self, tmp_path: Path) -> None:
        idl = "module toy { module msg { struct Pair { double left; double right; }; }; };"
        name = "toy/msg/Pair"
        data = b"\0\1\0\0" + struct.pack("<dd", 1.5, 2.5)
        pairs = [(Sent("/pair", name, 0.0, {}), "cdr", "ros2idl", idl.encode(), data)]
        headed = "=" * 80 + f"\nIDL: {name}\n{idl}"
        for text in (idl, headed):
            pairs[0] = (*pairs[0][:3], text.encode(), data)
            path = write_encoded(tmp_path / "a.mcap", [*pairs, *as_cdr(robot())])
            np.testing.assert_array_equal(one_episode(path).fields["observation/pair"][0], [1.5, 2.5])

    def test_protobuf_of_foxglove(self, tmp_path: Path) -> None:
        pytest.importorskip("foxglove_schemas_protobuf")
        from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
        from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
        from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
        from mcap_protobuf.writer import Writer

        path = tmp_path / "a.mcap"
        with open(path, "wb") as file:
            writer = Writer(file)
            for number in range(3):
                pose = PoseInFrame(frame_id="base")
                pose.timestamp.FromNanoseconds(START)
                pose.pose.position.x, pose.pose.orientation.w = number / 4, 1.0
                shown = CompressedImage(format="png", data=picture_file(number, form="PNG"))
                flat = np.ascontiguousarray(pixels(number)[..., ::-1])
                plain = RawImage(height=32, width=32, step=96, encoding="bgr8", data=flat.tobytes())
                for topic, message in (("/eye", shown), ("/raw", plain), ("/hand", pose), ("/action", pose)):
                    writer.write_message(topic, message, START + number)
            writer.finish()
        one = one_episode(path, "")
        np.testing.assert_array_equal(one.fields["observation/hand"][:, 0], [0, 0.25, 0.5])
        assert one.fields["action"].shape == (3, 7) and (one.fields["action"][:, 6] == 1).all()
        for number in range(3):
            assert one.fields["observation/eye"][number] == picture_file(number, form="PNG")
            np.testing.assert_array_equal(one.fields["observation/raw"][number], pixels(number))

    def test_json(self, tmp_path: Path) -> None:
        """A number of JSON is a float, whether or not it has a point, unless the schema says that it is an integer."""
        schema = {"type": "object", "properties": {"mode": {"type": "integer"}}}
        state = [Sent("/state", "State", t, {"q": [t, 1], "mode": 2, "at": {"x": 1, "y": t}}) for t in (0.0, 0.5, 1.0)]
        shown = {
            "format": "jpeg",
            "data": base64.b64encode(picture_file(0.0)).decode(),
            "timestamp": {"sec": 1, "nsec": 2},
        }
        eye = [Sent("/eye", "Eye", t, shown) for t in (0.0, 0.5, 1.0)]
        act = [Sent("/action", "Act", t, {"v": 1, "w": t}) for t in (0.0, 0.5, 1.0)]
        one = one_episode(write_encoded(tmp_path / "a.mcap", as_json(in_order(state + eye + act), schema)), "")
        np.testing.assert_array_equal(one.fields["observation/state/q"], [[0, 1], [0.5, 1], [1, 1]])
        np.testing.assert_array_equal(one.fields["observation/state/at"], [[1, 0], [1, 0.5], [1, 1]])
        np.testing.assert_array_equal(one.fields["action"], [[1, 0], [1, 0.5], [1, 1]])
        (reasons,) = opened(tmp_path / "a.mcap").reasons().values()
        assert reasons["observation/state/mode"].startswith("int64") and reasons["observation/state/q"].startswith(
            "float"
        )
        assert one.fields["observation/eye"][0] == picture_file(0.0)

    def test_an_encoding_that_is_not_read_costs_its_topic_alone(self, tmp_path: Path) -> None:
        strange = (Sent("/odd", "Odd", 0.0, {}), "cbor", "", b"", b"\xa0")
        path = write_encoded(tmp_path / "a.mcap", [strange, *as_cdr(robot())])
        assert one_episode(path).num_steps == 20
        notes = opened(path, CMD).notes()
        assert (
            "the field observation/odd is left out: its messages are in cbor without a schema, which is not read"
            in notes
        )

    def test_messages_without_values_and_events_of_services(self, tmp_path: Path) -> None:
        empty = (Sent("/tick", "toy/msg/Nothing", 0.0, {}), "cdr", "ros2msg", b"", b"\0\1\0\0\0")
        event = (Sent("/add", "toy/srv/Add_Event", 0.0, {}), "cdr", "ros2msg", b"int64 a\n---\nint64 b\n", b"\0\1\0\0")
        path = write_encoded(tmp_path / "a.mcap", [empty, event, *as_cdr(robot())])
        notes = "\n".join(opened(path, CMD).notes())
        assert "observation/tick is left out: its messages hold no values" in notes
        assert "observation/add is left out: the definition of its messages is none of a message" in notes

    def test_a_definition_without_the_types_it_contains(self, tmp_path: Path) -> None:
        """Some writers leave out what they take for known, such as std_msgs/Header."""
        short = [(*one[:3], one[3].split(b"=" * 80)[0], one[4]) for one in as_cdr(robot())]
        assert one_episode(write_encoded(tmp_path / "a.mcap", short)).num_steps == 20
        own = (Sent("/own", "toy/msg/Own", 0.0, {}), "cdr", "ros2msg", b"Inner inner\n", b"\0\1\0\0")
        path = write_encoded(tmp_path / "b.mcap", [own, *as_cdr(robot())])
        assert any(
            "own is left out: the type toy/msg/Inner is not defined" in note for note in opened(path, CMD).notes()
        )


HOSTILE = [
    'string x="""+__import__("os").mkdir("exploded")+"""\n',
    "float64 x\n\nclass A: __import__('os').mkdir('exploded')\n",
    "float64 x=__import__('os').mkdir('exploded')\n",
    "float64 x; __import__('os').mkdir('exploded')\n",
    "string[4000000000] x\n",
    "Own x\n",
    "Own[2] x\n",
    "\xff\0",
]


class TestHostileDefinitions:
    """`rosbags` makes Python of a definition."""

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_definition_runs_nothing(self, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        own = (Sent("/own", "toy/msg/Own", 0.0, {}), "cdr", "ros2msg", text.encode("latin-1"), b"\0\1\0\0" + bytes(64))
        path = write_encoded(tmp_path / "a.mcap", [own, *as_cdr(robot())])
        assert one_episode(path).num_steps == 20 and not Path("exploded").exists()

    @pytest.mark.parametrize("name", ["a\nfloat64 x\nclass B: pass", "a'\"/msg/B", "../../B", "", "x" * 10_000])
    def test_a_name_runs_nothing(self, tmp_path: Path, name: str) -> None:
        own = (Sent("/own", name, 0.0, {}), "cdr", "ros2msg", b"float64 x\n", b"\0\1\0\0" + bytes(8))
        assert one_episode(write_encoded(tmp_path / "a.mcap", [own, *as_cdr(robot())])).num_steps == 20


class TestFaults:
    @pytest.fixture
    def three(self, tmp_path: Path) -> Path:
        for number in range(3):
            write_ros2(tmp_path / f"{number}.mcap", robot(0.5, side=16), chunk_size=2000)
        return tmp_path

    def test_a_cut_anywhere_costs_its_episode_alone(self, three: Path) -> None:
        path = three / "1.mcap"
        whole = path.read_bytes()
        for cut in {*range(0, len(whole), len(whole) // 12), len(whole) - 1}:
            path.write_bytes(whole[:cut])
            found = results(three, CMD)
            assert [type(one) for one in found] == [Episode, Reject, Episode]
            assert found[1].message.startswith(f"{path}: ") and ("was cut" in found[1].message or cut < 8)

    def test_a_changed_byte_anywhere_is_found_or_changes_nothing(self, three: Path) -> None:
        path = three / "1.mcap"
        whole = path.read_bytes()
        expected = episodes(three, CMD)[1]
        found_out = 0
        for place in np.random.default_rng(0).integers(0, len(whole), 30).tolist():
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
            one, two, three_ = results(three, CMD)
            assert isinstance(one, Episode) and isinstance(three_, Episode)
            if isinstance(two, Reject):
                found_out += 1
                assert two.message.startswith(f"{path}: ")
            else:
                for name, values in expected.fields.items():
                    np.testing.assert_array_equal(np.array(two.fields[name]), np.array(values))
        assert found_out > 15

    def test_the_first_file_damaged(self, three: Path) -> None:
        (three / "0.mcap").write_bytes(b"")
        assert [type(one) for one in results(three, CMD)] == [Reject, Episode, Episode]
        for path in three.glob("*.mcap"):
            path.write_bytes(b"nothing")
        with pytest.raises(
            SourceError, match=r"no recording can be read; .*0\.mcap: it is no MCAP file: it begins with"
        ):
            opened(three, CMD).specs()

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"index_types": IndexType.NONE}, "does not say where its chunks are; .* mcap recover FILE"),
            ({"repeat_channels": False}, "does not repeat the channels"),
            ({"repeat_schemas": False}, "does not repeat the channels and schemas"),
        ],
    )
    def test_without_an_index(self, tmp_path: Path, settings: Any, expected: str) -> None:
        write_ros2(tmp_path / "0.mcap")
        write_encoded(tmp_path / "1.mcap", as_cdr(robot()), **settings)
        first, second = results(tmp_path, CMD)
        assert isinstance(first, Episode) and isinstance(second, Reject)
        assert re.search(expected, second.message)

    def test_without_any_summary(self, tmp_path: Path) -> None:
        settings = {"repeat_channels": False, "repeat_schemas": False, "use_statistics": False}
        write_ros2(tmp_path / "0.mcap")
        write_encoded(
            tmp_path / "1.mcap", as_cdr(robot()), index_types=IndexType.NONE, use_summary_offsets=False, **settings
        )
        assert "it has no summary" in results(tmp_path, CMD)[1].message

    def test_without_statistics_it_is_read_to_its_end(self, tmp_path: Path) -> None:
        path = write_encoded(tmp_path / "a.mcap", as_cdr(robot()), use_statistics=False)
        assert one_episode(path).num_steps == 20

    def test_without_chunks_it_is_read_in_the_order_of_the_file(self, tmp_path: Path) -> None:
        path = write_encoded(tmp_path / "a.mcap", as_cdr(robot()), use_chunking=False)
        assert one_episode(path).num_steps == 20
        path = write_encoded(tmp_path / "b.mcap", as_cdr([joints(0.2), *robot()]), use_chunking=False)
        (reject,) = results(path, CMD)
        assert "not in the order of time" in reject.message

    def test_chunks_whose_times_overlap(self, tmp_path: Path) -> None:
        """Messages of one topic may be written late; they are read in the order of time."""
        late = robot()
        late.sort(key=lambda one: (one.topic == "/joint_states", one.time))
        expected = one_episode(write_ros2(tmp_path / "a.mcap"))
        found = one_episode(write_encoded(tmp_path / "b.mcap", as_cdr(late), chunk_size=1000))
        np.testing.assert_array_equal(found.fields[POSITION], expected.fields[POSITION])

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (
                lambda s: s._replace(topic="/camera/other"),
                "/camera/compressed: there is no such topic; topics: /camera/other",
            ),
            (
                lambda s: s._replace(content=jpeg(s.time, 64)),
                "expected a picture of [32, 32] as the first ones are, got [64, 64]",
            ),
            (lambda s: s._replace(time=5.0), "no message of /cmd_vel came after each of the other topics had one"),
        ],
    )
    def test_another_camera(self, tmp_path: Path, spoil: Any, expected: str) -> None:
        write_ros2(tmp_path / "0.mcap")
        write_ros2(
            tmp_path / "1.mcap", in_order(spoil(one) if one.topic == "/camera/compressed" else one for one in robot())
        )
        first, second = results(tmp_path, CMD)
        assert isinstance(first, Episode) and expected in second.message

    def test_values_of_another_shape_or_nan(self, tmp_path: Path) -> None:
        write_ros2(tmp_path / "0.mcap")
        broken = [twist(0.1) | {"linear": {"x": float("nan"), "y": 0.0, "z": 0.0}}]
        sent = [
            one._replace(content=broken[0]) if one.topic == "/cmd_vel" and one.time > 0.5 else one for one in robot()
        ]
        write_ros2(tmp_path / "1.mcap", sent)
        kind = "geometry_msgs/msg/Vector3"
        sent = [
            one._replace(content=twist(0.1)["linear"], kind=kind) if one.topic == "/cmd_vel" else one for one in robot()
        ]
        write_ros2(tmp_path / "2.mcap", sent)
        first, second, third = results(tmp_path, CMD)
        assert isinstance(first, Episode) and "nan" in second.message
        assert (
            "cmd_vel at" in third.message
            and "expected float64[6] as in the first recordings, got float64[3]" in third.message
        )

    def test_a_message_that_cannot_be_decoded(self, tmp_path: Path) -> None:
        write_ros2(tmp_path / "0.mcap")
        cut = [(*one[:4], one[4][:-8] if one[0].topic == "/cmd_vel" else one[4]) for one in as_cdr(robot())]
        write_encoded(tmp_path / "1.mcap", cut)
        assert "/cmd_vel at" in results(tmp_path, CMD)[1].message

    def test_a_file_that_changed_or_vanished_since_it_was_planned(self, three: Path) -> None:
        (part,) = (source := opened(three, CMD)).partitions()
        _ = source.specs()
        (three / "1.mcap").unlink()
        write_ros2(three / "2.mcap", robot(1.0))
        found = [result for _, result in read_partition(source, part)]
        assert isinstance(found[0], Episode) and "1.mcap" in found[1].message
        assert "has changed since it was planned" in found[2].message

    def test_a_bag_in_several_files_is_noted(self, three: Path) -> None:
        (three / "metadata.yaml").write_text("rosbag2_bagfile_information:\n")
        assert (
            f"{three} is a ROS 2 bag in several files: rosbag:{three} makes one episode of it"
            in opened(three, CMD).notes()
        )


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    for number in range(8):
        write_ros2(Path(f"set/{number}.mcap"), robot(2.0, side=128, instruction=f"task {number}"))
    for workers in ("1", "2"):
        assert convert("mcap:set?action=/cmd_vel", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")

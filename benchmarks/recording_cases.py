"""The cases of bench_sources for MCAP files and ROS bags, beside decoding every message with the library of each."""

import functools
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.hdf5_cases import STEPS, pictures

DIFFERENT = 4  # episodes whose values differ; the others are copies
SECOND = 10**9
CAMERA, JOINTS, COMMAND = "/camera/compressed", "/joint_states", "/cmd_vel"
KINDS = {
    CAMERA: "sensor_msgs/msg/CompressedImage",
    JOINTS: "sensor_msgs/msg/JointState",
    COMMAND: "geometry_msgs/msg/Twist",
}


def messages(seed: int) -> Iterator[tuple[str, int, Any]]:
    """Yield (topic, nanoseconds, message of ROS 2): a camera of 480x640 at 10 Hz as JPEG, joints at 100 Hz, commands at
    10 Hz, for STEPS commands."""
    import numpy as np
    from PIL import Image
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE).types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "base")
    vector = types["geometry_msgs/msg/Vector3"]
    shown = pictures(seed, STEPS, 480, 640)
    for tick in range(STEPS * 10):
        time = tick * SECOND // 100
        position = np.sin(np.arange(7) + tick / 50)
        yield JOINTS, time, types[KINDS[JOINTS]](header, [f"joint_{i}" for i in range(7)], position, position, position)
        if tick % 10 == 0:
            file = io.BytesIO()
            Image.fromarray(shown[tick // 10]).save(file, "JPEG", quality=90)
            data = np.frombuffer(file.getvalue(), np.uint8)
            yield CAMERA, time, types[KINDS[CAMERA]](header, "jpeg", data)
            yield COMMAND, time, types[KINDS[COMMAND]](vector(tick / 400, 0.0, 0.0), vector(0.0, 0.0, 0.5))


def make_recordings(folder: Path, episodes: int, write: Any, ending: str) -> None:
    for number in range(episodes):
        path = folder / f"{number}{ending}"
        if number < DIFFERENT:
            write(path, number)
        else:
            shutil.copyfile(folder / f"{number % DIFFERENT}{ending}", path)


def write_mcap(path: Path, seed: int) -> None:
    from mcap.writer import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with open(path, "wb") as file:
        writer = Writer(file)
        writer.start("ros2", "bench")
        channels = {}
        for topic, kind in KINDS.items():
            schema = writer.register_schema(kind, "ros2msg", store.generate_msgdef(kind, ros_version=2)[0].encode())
            channels[topic] = writer.register_channel(topic, "cdr", schema)
        for topic, time, message in messages(seed):
            data = bytes(store.serialize_cdr(message, KINDS[topic]))
            writer.add_message(channels[topic], time, data, time)
        writer.finish()


def write_bag(path: Path, seed: int) -> None:
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer(path) as writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in KINDS.items()}
        for topic, time, message in messages(seed):
            if topic != COMMAND:  # a header of ROS 1 has a number
                message.header.seq = 0
            writer.write(connections[topic], time, store.serialize_ros1(message, KINDS[topic]))


def mcap_by_mcap(folder: Path) -> int:
    """Decode every message with mcap-ros2-support, and every picture with Pillow."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    paths = sorted(folder.glob("*.mcap"))
    for path in paths:
        with open(path, "rb") as file:
            for one in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages():
                if one.channel.topic == CAMERA:
                    _pixels(one.decoded_message.data)
    return len(paths)


def bag_by_rosbags(folder: Path) -> int:
    """Decode every message with the reader of `rosbags`, and every picture with Pillow."""
    from rosbags.highlevel import AnyReader

    paths = sorted(folder.glob("*.bag"))
    for path in paths:
        with AnyReader([path]) as reader:
            for connection, _, data in reader.messages():
                message: Any = reader.deserialize(data, connection.msgtype)
                if connection.topic == CAMERA:
                    _pixels(message.data)
    return len(paths)


def _pixels(data: Any) -> None:
    from PIL import Image

    Image.open(io.BytesIO(bytes(data))).convert("RGB")


OPTIONS = f"?action={COMMAND}&resize=96x128"
RECORDING_CASES: dict[str, dict[str, Any]] = {
    "mcap": {
        "make": functools.partial(make_recordings, write=write_mcap, ending=".mcap"),
        "source": "mcap:{folder}/*.mcap" + OPTIONS,
        "bare": {"mcap-ros2-support": mcap_by_mcap},
        "imports": "mcap",
        "few": 10,
    },
    "rosbag": {
        "make": functools.partial(make_recordings, write=write_bag, ending=".bag"),
        "source": "rosbag:{folder}/*.bag" + OPTIONS,
        "bare": {"rosbags": bag_by_rosbags},
        "imports": "rosbags",
        "few": 10,
    },
}

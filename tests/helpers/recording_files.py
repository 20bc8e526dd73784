"""Small recordings of a robot whose messages hold the time at which they were sent, written with each format's own
library."""

import contextlib
import io
import itertools
import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mcap_ros2")
pytest.importorskip("rosbags")

from mcap.writer import CompressionType, Writer
from mcap_ros2.writer import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

SECOND = 10**9
START = 1_700_000_000 * SECOND  # nanoseconds since 1970
STORE = get_typestore(Stores.ROS2_HUMBLE)
ROS1 = get_typestore(Stores.ROS1_NOETIC)
JOINTS = ["shoulder", "elbow", "wrist"]
HEADER = {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "base"}


class Sent(NamedTuple):
    """A message: its topic and type, when it was received (seconds from the start), and its content."""

    topic: str
    kind: str
    time: float
    content: dict[str, Any]

    @property
    def nanoseconds(self) -> int:
        return START + round(self.time * SECOND)


def robot(seconds: float = 1.0, side: int = 32, instruction: str = "lift the cup") -> list[Sent]:
    """A camera at 10 Hz, joints at 50 Hz, commands at 20 Hz, one instruction, and a log, in the order of time."""
    sent = [Sent("/instruction", "std_msgs/msg/String", 0.0, {"data": instruction})]
    sent += [Sent("/camera/compressed", "sensor_msgs/msg/CompressedImage", t, jpeg(t, side)) for t in at(10, seconds)]
    sent += [joints(t) for t in at(50, seconds)]
    sent += [Sent("/cmd_vel", "geometry_msgs/msg/Twist", t, twist(t)) for t in at(20, seconds, 0.01)]
    sent += [Sent("/rosout", "std_msgs/msg/String", t, {"data": "all is well"}) for t in at(1, seconds)]
    return in_order(sent)


def in_order(sent: Iterable[Sent]) -> list[Sent]:
    return sorted(sent, key=lambda one: one.time)


def at(rate: float, seconds: float, first: float = 0.0) -> Iterator[float]:
    return itertools.takewhile(lambda time: time <= seconds, (round(first + i / rate, 9) for i in itertools.count()))


def joints(time: float, names: list[str] = JOINTS) -> Sent:
    """The position of a joint is the time, times its number, whatever the order of the joints."""
    position = [time * (JOINTS.index(name) + 1) if name in JOINTS else -1.0 for name in names]
    content = {"header": HEADER, "name": names, "position": position, "velocity": [0.5] * len(names), "effort": []}
    return Sent("/joint_states", "sensor_msgs/msg/JointState", time, content)


def twist(time: float) -> dict[str, Any]:
    return {"linear": {"x": time, "y": 0.0, "z": -time}, "angular": {"x": 0.0, "y": 0.0, "z": 0.25}}


def jpeg(time: float, side: int = 32) -> dict[str, Any]:
    return {"header": HEADER, "format": "rgb8; jpeg compressed bgr8", "data": picture_file(time, side)}


def picture_file(time: float, side: int = 32, form: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(time, side)).save(out, form)
    return out.getvalue()


def pixels(time: float, side: int = 32) -> Any:
    """uint8[side, side, 3], another one at each time."""
    return np.random.default_rng(round(time * 1e6)).integers(0, 256, (side, side, 3), np.uint8)


def raw(values: Any, encoding: str, step: int = 0, big: bool = False) -> dict[str, Any]:
    """An Image of these values, with rows of `step` bytes."""
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    padded = np.pad(rows, ((0, 0), (0, max(0, step - rows.shape[1]))), constant_values=7)
    size = {"height": values.shape[0], "width": values.shape[1], "step": padded.shape[1]}
    return {"header": HEADER, **size, "encoding": encoding, "is_bigendian": int(big), "data": padded.tobytes()}


def definition(kind: str) -> str:
    return str(STORE.generate_msgdef(kind, ros_version=2)[0])


def write_ros2(path: Path, sent: Iterable[Sent] | None = None, **settings: Any) -> Path:
    """Write an MCAP file of ROS 2 messages, by mcap-ros2-support."""
    with open(path, "wb") as file:
        writer = Ros2Writer(file, **settings)
        schemas: dict[str, Any] = {}
        for one in robot() if sent is None else sent:
            if one.kind not in schemas:
                schemas[one.kind] = writer.register_msgdef(one.kind, definition(one.kind))
            writer.write_message(one.topic, schemas[one.kind], one.content, one.nanoseconds)
        writer.finish()
    return path


def write_encoded(path: Path, sent: Iterable[tuple[Sent, str, str, bytes, bytes]], **settings: Any) -> Path:
    """Write an MCAP file of messages that are encoded already: (message, its encoding, that of its schema, schema,
    bytes)."""
    settings = {"compression": CompressionType.ZSTD} | settings
    metadata = settings.pop("metadata", {})
    with open(path, "wb") as file:
        writer = Writer(file, **settings)
        writer.start("", "test")
        schemas: dict[str, int] = {}
        channels: dict[str, int] = {}
        for one, encoding, schema_encoding, schema, data in sent:
            if one.kind not in schemas:
                schemas[one.kind] = writer.register_schema(one.kind, schema_encoding, schema) if schema_encoding else 0
            if one.topic not in channels:
                channels[one.topic] = writer.register_channel(one.topic, encoding, schemas[one.kind])
            writer.add_message(channels[one.topic], one.nanoseconds, data, one.nanoseconds)
        for name, content in metadata.items():
            writer.add_metadata(name, content)
        writer.finish()
    return path


def ros_message(kind: str, content: dict[str, Any], store: Any = STORE) -> Any:
    """A message of `rosbags`, of nested dicts. In ROS 1 a header has a number."""
    cls = store.types[kind]
    values: dict[str, Any] = {}
    for name, (node, inner) in store.fielddefs[kind][1]:
        value = content.get(name, 0)
        if isinstance(value, dict):
            values[name] = ros_message(str(inner), value, store)
        elif node in (3, 4) and inner[0][0] == 1 and inner[0][1][0] != "string":
            number = inner[0][1][0]
            values[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.array(value, number)
        else:
            values[name] = value
    return cls(**values)


def write_ros1_bag(path: Path, sent: Iterable[Sent] | None = None, compression: Any = None) -> Path:
    """Write a bag of ROS 1, by `rosbags`."""
    from rosbags.rosbag1 import Writer as BagWriter

    path.unlink(missing_ok=True)
    writer = BagWriter(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connections: dict[str, Any] = {}
        for one in robot() if sent is None else sent:
            if one.topic not in connections:
                connections[one.topic] = writer.add_connection(one.topic, one.kind, typestore=ROS1)
            data = ROS1.serialize_ros1(ros_message(one.kind, one.content, ROS1), one.kind)
            writer.write(connections[one.topic], one.nanoseconds, data)
    return path


def write_ros2_bag(folder: Path, sent: Iterable[Sent] | None = None, storage: str = "sqlite3", **settings: Any) -> Path:
    """Write a bag of ROS 2, by `rosbags`. settings: compression, a mode and a format; custom, data of its metadata."""
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer as BagWriter

    shutil.rmtree(folder, ignore_errors=True)
    writer = BagWriter(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if "compression" in settings:
        writer.set_compression(*settings["compression"])
    for key, text in settings.get("custom", {}).items():
        writer.set_custom_data(key, text)
    with writer:
        connections: dict[str, Any] = {}
        for one in robot() if sent is None else sent:
            if one.topic not in connections:
                connections[one.topic] = writer.add_connection(one.topic, one.kind, typestore=STORE)
            data = STORE.serialize_cdr(ros_message(one.kind, one.content), one.kind)
            writer.write(connections[one.topic], one.nanoseconds, data)
    return folder


def write_humble_bag(folder: Path, sent: Iterable[Sent] | None = None, files: int = 1) -> Path:
    """Write a bag as ROS 2 Humble does: without definitions, perhaps in several databases."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    messages = list(robot() if sent is None else sent)
    topics = {one.topic: (number, one.kind) for number, one in enumerate({m.topic: m for m in messages}.values(), 1)}
    names = [f"{folder.name}_{number}.db3" for number in range(files)]
    each = -(-len(messages) // files)
    for number, name in enumerate(names):
        with contextlib.closing(sqlite3.connect(folder / name)) as database:
            database.executescript(HUMBLE)
            rows = [
                (number, topic, kind, "cdr", *quality(2147483647).values()) for topic, (number, kind) in topics.items()
            ]
            database.executemany("INSERT INTO topics VALUES(?, ?, ?, ?, ?)", rows)
            for one in messages[number * each : (number + 1) * each]:
                data = bytes(STORE.serialize_cdr(ros_message(one.kind, one.content), one.kind))
                row = (topics[one.topic][0], one.nanoseconds, data)
                database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES(?, ?, ?)", row)
            database.commit()
    counts = {topic: sum(one.topic == topic for one in messages) for topic in topics}
    told = {
        "version": 5,
        "storage_identifier": "sqlite3",
        "relative_file_paths": names,
        "duration": {"nanoseconds": messages[-1].nanoseconds - messages[0].nanoseconds},
        "starting_time": {"nanoseconds_since_epoch": messages[0].nanoseconds},
        "message_count": len(messages),
        "topics_with_message_count": [
            {
                "topic_metadata": {"name": topic, "type": kind, "serialization_format": "cdr", **quality(0)},
                "message_count": counts[topic],
            }
            for topic, (_, kind) in topics.items()
        ],
        "compression_format": "",
        "compression_mode": "",
    }
    (folder / "metadata.yaml").write_text(json.dumps({"rosbag2_bagfile_information": told}))  # JSON is YAML
    return folder


def quality(seconds: int) -> dict[str, str]:
    """The quality of service of a topic: bags state an infinite time as 0 in metadata.yaml and as 2147483647 s in the
    database."""
    time = f"{{sec: {seconds}, nsec: 0}}"
    told = {"history": 3, "depth": 0, "reliability": 1, "durability": 2, "deadline": time, "lifespan": time}
    told |= {"liveliness": 1, "liveliness_lease_duration": time, "avoid_ros_namespace_conventions": "false"}
    lines = [f"{key}: {value}" for key, value in told.items()]
    return {"offered_qos_profiles": "- " + "\n  ".join(lines)}


HUMBLE = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
    serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema(schema_version, ros_distro) VALUES (3, 'humble');
"""


def as_cdr(sent: Iterable[Sent]) -> Iterator[tuple[Sent, str, str, bytes, bytes]]:
    for one in sent:
        data = bytes(STORE.serialize_cdr(ros_message(one.kind, one.content), one.kind))
        yield one, "cdr", "ros2msg", definition(one.kind).encode(), data


def as_ros1(sent: Iterable[Sent]) -> Iterator[tuple[Sent, str, str, bytes, bytes]]:
    for one in sent:
        data = bytes(ROS1.serialize_ros1(ros_message(one.kind, one.content, ROS1), one.kind))
        kind = one._replace(kind=one.kind.replace("/msg/", "/"))
        yield kind, "ros1", "ros1msg", ROS1.generate_msgdef(one.kind)[0].encode(), data


def as_json(sent: Iterable[Sent], schema: dict[str, Any] | None = None) -> Iterator[Any]:
    described = json.dumps(schema or {"type": "object"}).encode()
    for one in sent:
        yield one, "json", "jsonschema", described, json.dumps(one.content).encode()

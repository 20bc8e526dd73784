"""Small recordings of a robot whose messages hold the time at which they were sent, written with each format's own
library."""

import io
import itertools
import json
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


def definition(kind: str, ros: int = 2) -> str:
    return str(STORE.generate_msgdef(kind, ros_version=ros)[0])


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


def ros_message(kind: str, content: dict[str, Any]) -> Any:
    """A message of `rosbags`, of nested dicts."""
    cls = STORE.types[kind]
    values: dict[str, Any] = {}
    for name, (node, inner) in STORE.fielddefs[kind][1]:
        value = content[name]
        if isinstance(value, dict):
            values[name] = ros_message(str(inner), value)
        elif node in (3, 4) and inner[0][0] == 1 and inner[0][1][0] != "string":
            number = inner[0][1][0]
            values[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.array(value, number)
        else:
            values[name] = value
    return cls(**values)


def as_cdr(sent: Iterable[Sent]) -> Iterator[tuple[Sent, str, str, bytes, bytes]]:
    for one in sent:
        data = bytes(STORE.serialize_cdr(ros_message(one.kind, one.content), one.kind))
        yield one, "cdr", "ros2msg", definition(one.kind).encode(), data


def as_ros1(sent: Iterable[Sent]) -> Iterator[tuple[Sent, str, str, bytes, bytes]]:
    for one in sent:
        data = bytes(STORE.serialize_ros1(ros_message(one.kind, one.content), one.kind))
        kind = one._replace(kind=one.kind.replace("/msg/", "/"))
        yield kind, "ros1", "ros1msg", definition(one.kind, 1).encode(), data


def as_json(sent: Iterable[Sent], schema: dict[str, Any] | None = None) -> Iterator[Any]:
    described = json.dumps(schema or {"type": "object"}).encode()
    for one in sent:
        yield one, "json", "jsonschema", described, json.dumps(one.content).encode()

"""How the bytes of a message become a message: ROS 1, ROS 2, Protobuf and JSON, each by the schema beside it."""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.msg import normalize_msgtype
from rosbags.typesys.store import Typestore

from pipelines.sources.recordings.recording import Decoder, UnfitError

# {encoding of messages: those of their schemas}; "" where the type is named alone
ROS = {"cdr": ("ros2msg", "ros2idl", ""), "ros1": ("ros1msg",)}
MOST_REPEATS = 4096  # of texts or messages in an array whose length a definition states: code is made for each
_IDL = "=" * 80 + "\n"  # stands before each file of IDL, followed by its name


def decode(encoding: str, name: str, schema_encoding: str, schema: bytes, data: bytes) -> Any:
    """Decode a message by the `decoder_of` its type; what is wrong with the type shows here."""
    return decoder_of(encoding, name, schema_encoding, schema)(data)


@functools.lru_cache(maxsize=512)
def decoder_of(encoding: str, name: str, schema_encoding: str, schema: bytes) -> Decoder:
    """The decoder of messages of the type `name`, which `schema` defines. It makes a dataclass (ROS), a Protobuf
    message or what JSON holds.

    encoding: as MCAP calls it: "cdr", "ros1", "protobuf" or "json". Raises UnfitError for another one, and whatever the
    library of the format raises for a schema that it cannot read.
    """
    if name and schema_encoding in ROS.get(encoding, ()):
        return ros_decoder(_types(schema_encoding, name, schema.decode()), name, encoding == "ros1")
    if encoding == "protobuf" and schema_encoding == "protobuf":
        return _protobuf_decoder(name, schema)
    if encoding == "json":
        described = json.loads(schema) if schema_encoding == "jsonschema" and schema.strip() else {}
        return functools.partial(_json, described)
    beside = f" with a schema in {schema_encoding}" if schema_encoding else " without a schema"
    raise UnfitError(f"its messages are in {encoding or 'no stated encoding'}{beside}, which is not read")


def _protobuf_decoder(name: str, schema: bytes) -> Decoder:
    from mcap.records import Schema  # bags of ROS are read without it
    from mcap_protobuf.decoder import DecoderFactory

    decoder = DecoderFactory().decoder_for("protobuf", Schema(1, schema, "protobuf", name))
    assert decoder is not None
    return decoder


def ros_decoder(types: Mapping[str, Any], name: str, ros1: bool) -> Decoder:
    """The decoder of ROS messages of the type `name`, of a ROS 1 bag or in CDR. types: as `rosbags` parses
    definitions, those of the types that it contains too.

    Raises UnfitError if a type is not defined.
    """
    name = normalize_msgtype(name)
    _check_repeats(types)
    store = get_typestore(Stores.EMPTY)
    store.register(dict(types))
    _define(store, name)
    decode = store.deserialize_ros1 if ros1 else store.deserialize_cdr
    decode_one = functools.partial(decode, typename=name)
    store.get_msgdef(name)  # what is wrong with the definition shows here
    return decode_one


def _define(store: Typestore, name: str) -> None:
    """Take the types that a recording does not define from ROS 2 Humble: bags define none before ROS 2 Iron, and some
    writers of MCAP leave out what they take for known, such as std_msgs/msg/Header."""
    known, wanted, seen = get_typestore(Stores.ROS2_HUMBLE).fielddefs, [name], set[str]()
    while wanted:
        one = wanted.pop()
        if one in seen:
            continue
        seen.add(one)
        if one not in store.fielddefs:
            if one not in known:
                raise UnfitError(f"the type {one} is not defined in the recording, and is none of ROS 2's own")
            store.register({one: known[one]})
        for _, described in store.fielddefs[one][1]:
            inner: Any = described[1][0] if described[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) else described
            if inner[0] == Nodetype.NAME:
                wanted.append(inner[1])


def _types(schema_encoding: str, name: str, text: str) -> Mapping[str, Any]:
    """The types that a schema defines, as `rosbags` parses them."""
    if not schema_encoding:
        return {}
    try:
        if schema_encoding != "ros2idl":
            return get_types_from_msg(text, name)
        found: dict[str, Any] = {}
        for part in text.split(_IDL):
            if body := re.sub(r"\AIDL: [^\n]*\n", "", part).strip():
                found |= get_types_from_idl(body)
        return found
    except TypesysError as error:
        raise UnfitError("the definition of its messages is none of a message: it may be that of a service") from error


def _check_repeats(types: Mapping[str, Any]) -> None:
    """Raise ValueError for arrays for which `rosbags` would make code without end."""
    for name, (_, fields) in types.items():
        for field, described in fields:
            if described[0] == Nodetype.ARRAY:
                (kind, inner), length = described[1]
                if length > MOST_REPEATS and (kind == Nodetype.NAME or inner[0] == "string"):
                    raise ValueError(f"{name}: {field} has {length} texts or messages, and at most {MOST_REPEATS} fit")


def _json(schema: Mapping[str, Any], data: bytes) -> Any:
    return _typed(json.loads(data, parse_int=float), schema)


def _typed(value: Any, schema: Any) -> Any:
    """Make whole numbers of those that the schema says are: JSON itself does not tell 1 from 1.0."""
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():
        return int(value)
    if isinstance(value, dict) and isinstance(properties := schema.get("properties"), Mapping):
        return {key: _typed(one, properties.get(key)) for key, one in value.items()}
    if isinstance(value, list) and (items := schema.get("items")):
        return [_typed(one, items) for one in value]
    return value

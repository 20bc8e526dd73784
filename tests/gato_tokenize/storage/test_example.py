"""The wire bytes of tf.train.Example: by hand, TensorFlow as the oracle in both directions, damaged bytes."""

import random
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gato_tokenize.storage.example import decode_example, decode_varints, encode_example, encode_varints


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def plain_varint(value):
    """One varint, as protobuf's documentation describes it."""
    value &= 2**64 - 1
    out = []
    while value >= 0x80:
        out.append(value % 0x80 + 0x80)
        value //= 0x80
    return bytes([*out, value])


def field(number, body):
    """A length-delimited field."""
    return plain_varint(number * 8 + 2) + plain_varint(len(body)) + body


def example_of(feature, key=b"k"):
    """An Example with one feature of these bytes."""
    return field(1, field(1, field(1, key) + field(2, feature)))


def same(one, two):
    assert list(one) == list(two)
    for key, value in one.items():
        assert type(value) is type(two[key]), key
        if isinstance(value, np.ndarray):
            assert value.dtype == two[key].dtype
            assert value.tobytes() == two[key].tobytes(), key  # NaN too
        else:
            assert value == two[key], key


# By hand.


@pytest.mark.parametrize(
    ("value", "varint"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (300, "ac 02"),
        (16384, "80 80 01"),
        (65535, "ff ff 03"),
        (65536, "80 80 04"),
        (2**32, "80 80 80 80 10"),
        (2**63 - 1, "ff ff ff ff ff ff ff ff 7f"),
        (-1, "ff ff ff ff ff ff ff ff ff 01"),
        (-(2**63), "80 80 80 80 80 80 80 80 80 01"),
    ],
)
def test_varints_by_hand(value, varint):
    assert encode_varints(np.array([value])).hex(" ") == varint == plain_varint(value).hex(" ")
    assert encode_varints(np.array([value, 1])).hex(" ") == varint + " 01"
    assert decode_varints(bytes.fromhex(varint) + b"\x01").tolist() == [value, 1]


def test_an_example_by_hand():
    features = {"b": [b"x", b""], "a": np.array([1.0], np.float32)}
    data = bytes.fromhex(
        "0a 1d"  # Example.features, 15 and 14 bytes
        "0a 0d  0a 01 61  12 08  12 06  0a 04 0000803f"  # "a": float_list, packed
        "0a 0c  0a 01 62  12 07  0a 05  0a 01 78  0a 00"  # "b": bytes_list of "x" and nothing
    )
    assert encode_example(features) == data
    same(decode_example(data), {"a": features["a"], "b": [b"x", b""]})


def test_empty_ones():
    assert encode_example({}) == b"\x0a\x00"
    assert decode_example(b"\x0a\x00") == decode_example(b"") == {}
    for value, tag in (([], 1), (np.zeros(0, np.float32), 2), (np.zeros(0, np.int64), 3)):
        assert encode_example({"k": value}) == example_of(field(tag, b""))
        assert len(decode_example(encode_example({"k": value}))["k"]) == 0
    assert decode_example(example_of(b"")) == {"k": []}  # a Feature with no list set
    assert decode_example(field(1, field(1, b""))) == {"": []}  # an entry that leaves out key and value


# Properties.

ints = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 300) | st.integers(2**16 - 2, 2**16 + 2)
int_arrays = st.lists(ints, max_size=8).map(lambda values: np.array(values, np.int64))


@given(int_arrays)
def test_varints_against_a_plain_loop(values):
    data = b"".join(map(plain_varint, values.tolist()))
    assert encode_varints(values) == data
    back = decode_varints(data)
    assert back.dtype == np.int64
    assert back.tolist() == values.tolist()


def test_varints_of_views():
    values = np.array([[1, 300, 70000], [-1, 5, 2**40]])
    for view in (values[:, 1], values[0, ::2], values[1, ::-1], values.T[2]):
        assert encode_varints(view) == b"".join(map(plain_varint, view.tolist()))


values = (
    st.lists(st.binary(max_size=200), max_size=4)
    | int_arrays
    | arrays(np.float32, st.integers(0, 5), elements=st.floats(width=32, allow_nan=False))
)
feature_maps = st.dictionaries(st.text(max_size=5) | st.sampled_from(["tokens", "é", "😀/x"]), values, max_size=5)


@given(feature_maps)
def test_round_trip(features):
    same(decode_example(encode_example(features)), {key: features[key] for key in sorted(features, key=str.encode)})


# The oracle.


def message(tf, features):
    """TensorFlow's own Example."""
    train, example = tf.train, tf.train.Example()
    for key, value in features.items():
        if isinstance(value, list):
            feature = train.Feature(bytes_list=train.BytesList(value=value))
        elif value.dtype == np.float32:
            feature = train.Feature(float_list=train.FloatList(value=value))
        else:
            feature = train.Feature(int64_list=train.Int64List(value=value))
        example.features.feature[key].CopyFrom(feature)
    return example


def as_dict(example):
    """What `decode_example` gives, from TensorFlow's Example."""
    out = {}
    for key, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is None or kind == "bytes_list":
            out[key] = list(feature.bytes_list.value)
        else:
            value = feature.float_list.value if kind == "float_list" else feature.int64_list.value
            out[key] = np.array(value, np.float32 if kind == "float_list" else np.int64)
    return out


def without_prefixes(features):
    """Protobuf's upb puts a key after a longer one that begins with it; no key of ours begins another."""
    keys = [key.encode() for key in features]
    begun = {a for a in keys for b in keys if a != b and b.startswith(a)}
    return {key: value for key, value in features.items() if key.encode() not in begun}


@settings(max_examples=200)
@given(features=feature_maps.map(without_prefixes))
def test_the_bytes_are_tensorflow_s(tf, features):
    example = message(tf, features)
    data = encode_example(features)
    if features:  # TensorFlow leaves an empty `features` out
        assert data == example.SerializeToString(deterministic=True)
        assert tf.train.Example.FromString(data) == example
    shuffled = decode_example(example.SerializeToString())
    same({key: shuffled[key] for key in features}, features)


def test_not_a_number_keeps_its_bytes(tf):
    values = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0], np.float32)
    data = encode_example({"k": values})
    assert data == message(tf, {"k": values}).SerializeToString(deterministic=True)
    same(decode_example(data), {"k": values})


@given(numbers=int_arrays, floats=st.lists(st.floats(width=32, allow_nan=False), max_size=4), cut=st.integers(0, 8))
def test_unpacked_numbers_and_lists_in_parts(tf, numbers, floats, cut):
    """Writers of old, and protobuf's rule that parsers must take: one field a number, several packed fields."""
    unpacked = b"".join(b"\x08" + plain_varint(value) for value in numbers.tolist())
    parts = [b"".join(map(plain_varint, part.tolist())) for part in np.split(numbers, [min(cut, len(numbers))])]
    packed = b"".join(field(1, part) for part in parts if part)
    single = b"".join(b"\x0d" + np.float32(value).tobytes() for value in floats)
    for feature, expected in (
        (field(3, unpacked), numbers),
        (field(3, packed), numbers),
        (field(3, packed + unpacked), np.concatenate([numbers, numbers])),
        (field(2, single), np.array(floats, np.float32)),
    ):
        data = example_of(feature)
        same(decode_example(data), {"k": expected})
        same(as_dict(tf.train.Example.FromString(data)), {"k": expected})


def test_the_last_of_two_equal_keys_counts(tf):
    data = encode_example({"k": np.array([1])}) + encode_example({"k": np.array([2])})
    same(decode_example(data), {"k": np.array([2])})
    same(as_dict(tf.train.Example.FromString(data)), {"k": np.array([2])})


# Damage.

SOUND = encode_example(
    {
        "tokens": np.array([32512, 0, -1, 2**40]),
        "é/return": np.array([1.5, -2.0], np.float32),  # one byte makes no signalling NaN of them
        "names": [b"", b"one", b"\xff"],
        "few": np.array([7]),
        "none": [],
    }
)


def decoded_or_none(data):
    try:
        return decode_example(data)
    except ValueError:
        return None


def test_every_truncation():
    """A feature is cut nowhere: an Example says its length at its start."""
    assert decode_example(SOUND)
    assert [cut for cut in range(1, len(SOUND)) if decoded_or_none(SOUND[:cut]) is not None] == []


def test_every_other_value_of_every_byte(tf):
    """A ValueError or a dict; and where TensorFlow can read the bytes as well, it reads the same."""
    read = 0
    for at in range(len(SOUND)):
        for value in range(256):
            data = SOUND[:at] + bytes([value]) + SOUND[at + 1 :]
            found = decoded_or_none(data)
            if found is None:
                continue
            assert len(found) <= 5
            if value % 16 == SOUND[at] % 16:  # TensorFlow takes its time
                theirs = as_dict(tf.train.Example.FromString(data))
                same({key: found[key] for key in theirs}, theirs)
                read += 1
    assert read > 100


def test_several_bytes_changed():
    generator = random.Random(0)
    for _ in range(5000):
        data = bytearray(SOUND)
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        decoded_or_none(bytes(data))


@given(st.binary(max_size=60))
def test_any_bytes(data):
    for candidate in (data, field(1, data), field(1, field(1, data)), example_of(data), example_of(field(3, data))):
        found = decoded_or_none(candidate)
        assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x0a\x05abc", "Example is truncated: 2 bytes are missing"),
        (b"\x0a", "a varint is truncated"),
        (b"\x12\x00", "Example has an unknown field: tag 18"),
        (b"\x0b\x00", "Example has a field of an unknown wire type: tag 11"),
        (field(1, b"\x08\x01"), "Features has an unknown field: tag 8"),
        (field(1, field(1, field(3, b""))), r"a feature entry has an unknown or a second field: \[26\]"),
        (field(1, field(1, field(1, b"a") + field(1, b"b"))), "a feature entry has an unknown or a second field"),
        (example_of(field(3, b"") + field(3, b"")), "feature 'k' has 2 lists"),
        (example_of(field(4, b"")), "feature 'k' is no list of bytes, floats or ints: tag 34"),
        (example_of(field(2, b"\x0a\x03abc")), "feature 'k' is no list of bytes, floats or ints"),
        (example_of(field(2, b"\x0a\x02ab\x0a\x02cd")), "feature 'k' is no list of"),  # 4 bytes, but no whole float
        (example_of(field(3, field(1, b"\x80"))), "feature 'k' is no list of"),
        (example_of(field(3, field(1, b"\x80") + field(1, b"\x01"))), "feature 'k' is no list of"),
        (example_of(field(3, field(1, b"\xff" * 9 + b"\x02"))), "a varint has more than 64 bits"),
        (example_of(field(3, field(1, b"\xff" * 10 + b"\x01"))), "a varint has more than 64 bits"),
        (example_of(field(3, b"\x08" + b"\xff" * 10 + b"\x01")), "a varint is truncated or has more than 64 bits"),
        (example_of(field(1, b""), b"\xff"), "can't decode byte 0xff"),
    ],
)
def test_what_is_no_example_is_a_value_error(data, text):
    with pytest.raises(ValueError, match=text):
        decode_example(data)


def test_a_key_that_is_no_utf_8_is_a_value_error_in_both_directions():
    with pytest.raises(UnicodeDecodeError):
        decode_example(example_of(field(1, b""), b"\xc3\x28"))
    with pytest.raises(UnicodeEncodeError):
        encode_example({"\ud800": []})


@pytest.mark.parametrize("size", [2**31, 2**63, 2**64 - 1])
def test_a_length_beyond_the_data_costs_nothing(size):
    tracemalloc.start()
    started = time.perf_counter()
    for data in (b"\x0a" + plain_varint(size) + b"x", example_of(b"\x1a" + plain_varint(size) + b"x")):
        with pytest.raises(ValueError, match="truncated"):
            decode_example(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("value", [np.array([1], np.int32), np.array([1.0]), np.array(["a"]), np.array([True])])
def test_arrays_of_another_dtype_are_refused(value):
    with pytest.raises(TypeError, match=f"a feature is int64, float32 or bytes, not {value.dtype}"):
        encode_example({"k": value})


@pytest.mark.parametrize("data", [b"\x80", b"\x01\x80", b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00"])
def test_varints_that_are_none(data):
    with pytest.raises(ValueError, match="a varint"):
        decode_varints(data)


@pytest.mark.parametrize("value", [0, 1, 127, 128, -1, 2**63 - 1, -(2**63), b"", b"abc", b"x" * 200])
def test_one_number_or_bytes_is_short_for_a_list_of_it(value):
    listed = [value] if isinstance(value, bytes) else np.array([value], np.int64)
    assert encode_example({"key": value}) == encode_example({"key": listed})
    assert encode_example({"key": value}) == encode_example({"key": value})  # from the cache


def test_only_what_is_wanted_is_decoded():
    data = encode_example({"a": np.array([1], np.int64), "b": [b"x"], "c": np.array([1.5], np.float32)})
    assert list(decode_example(data, {"b", "d"})) == ["b"]
    assert list(decode_example(data, frozenset())) == []


def test_long_values_are_not_kept_in_memory():
    tracemalloc.start()
    try:
        for number in range(50):
            encode_example({"image_patches": bytes([number]) * 2**20})
        assert tracemalloc.get_traced_memory()[0] < 5 * 2**20
    finally:
        tracemalloc.stop()

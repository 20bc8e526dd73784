"""The text tokenizer: any string comes back, ids are the library's own, faults are named."""

import copy
import pickle
import pydoc_data.topics
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.modalities.text_training import train_text_model

SAMPLES = Path(__file__).parents[2] / "data" / "text"
TOKENIZER = TextTokenizer()
NASTY = [
    "",
    " ",
    "a",
    " a",
    "a ",
    "  a   b    ",
    "\n",
    "\n\n\na\n",
    "\r\n\r\r\n",
    "\t\t\t\t\t\tx\ty",
    "\x00",
    "a\x00b\x00",
    "\u2581",
    "\u2581\u2581 \u2581a \u2581",
    " \u2581 ",
    "<s></s><unk><pad><0x0A><0xE2>",
    "\u2047 \u2585",
    "\ufeffbyte order mark",
    "fi\ufb01 \u00c5\u212b\u0041\u030a",  # what a normalization would change
    "e\u0301\u0301\u0301",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\ue000\uf8ff\U000f0000\U0010fffd",  # private use
    "\u0378\U000e0fff",  # unassigned
    "\ufdd0\ufffe\uffff\U0010ffff",  # non-characters
    "\ufffd",
    "\u2028\u2029\x85\x0b\x0c",
    "def f(x):\n        return {\n            'a': x,\n        }\n",
    "0123456789 3.14159 1e-8",
]


def test_by_hand() -> None:
    ids = TOKENIZER.encode("a\tb")
    assert [TOKENIZER._processor.id_to_piece(int(i)) for i in ids] == ["a", "\t", "b"]
    assert TOKENIZER.decode(ids) == "a\tb"


def test_digits_stand_alone_and_indentation_is_one_token() -> None:
    pieces = [TOKENIZER._processor.id_to_piece(int(i)) for i in TOKENIZER.encode("\n        1984")]
    assert pieces == ["\n", "\u2581" * 8, "1", "9", "8", "4"]


def test_the_shipped_model_has_the_paper_s_size() -> None:
    assert TOKENIZER.vocabulary_size == 32_000
    assert TOKENIZER.end_id == 2
    assert len(TOKENIZER.sha256) == 64


@pytest.mark.parametrize("text", NASTY)
def test_round_trip_of_nasty_strings(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert ids.dtype == np.int32 and ids.ndim == 1 and ids.flags.writeable
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.unknown_count(ids) == 0


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_round_trip_of_any_text(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.unknown_count(ids) == 0


@given(st.text("\u2581 ab\n<>s\u00e9\u8a9e"))
def test_round_trip_near_the_space_mark(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.integers(1, 3))
def test_a_batch_is_its_texts_one_by_one(texts: list[str], workers: int) -> None:
    batch = TOKENIZER.encode_batch(texts, workers=workers)
    assert [ids.tolist() for ids in batch] == [TOKENIZER.encode(text).tolist() for text in texts]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.txt")), ids=lambda path: path.stem)
def test_ids_are_those_of_bare_sentencepiece(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    bare = sentencepiece.SentencePieceProcessor(model_proto=TOKENIZER.model_bytes)
    assert TOKENIZER.encode(text).tolist() == bare.encode(text)
    assert TOKENIZER.decode(bare.encode(text)) == text


def test_control_pieces_decode_to_nothing() -> None:
    ids = [1, *TOKENIZER.encode("one two"), 0, 2]
    assert TOKENIZER.decode(ids) == "one two"
    assert TOKENIZER.unknown_count(ids) == 1


def test_invalid_utf8_decodes_to_the_replacement_character() -> None:
    first_byte = int(TOKENIZER.encode("\u2581")[0])
    assert TOKENIZER.decode([first_byte]) == "\ufffd"


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, object])
def test_integers_of_any_type_decode(dtype: type) -> None:
    ids: np.ndarray[tuple[int], np.dtype[np.generic]] = np.array([65, 66], dtype=dtype)
    assert TOKENIZER.decode(ids) == TOKENIZER.decode([65, 66])


@pytest.mark.parametrize("ids", [[], np.empty(0), np.empty(0, np.int32)])
def test_no_ids_decode_to_no_text(ids: list[int]) -> None:
    assert TOKENIZER.decode(ids) == ""


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, 32_000], r"ids\[1\] is 32000: ids are integers in \[0, 32000\)"),
        ([5, 6, -1], r"ids\[2\] is -1"),
        ([5, 2.5], r"ids\[1\] is 2\.5"),
        ([5, 2**70], rf"ids\[1\] is {2**70}"),
        ([True], r"ids\[0\] is True"),
        (["5"], r"ids\[0\] is '5'"),
        (np.array([1.0, 2.0]), r"ids\[0\] is 1\.0"),
        ([[1, 2]], r"one axis, not shape \(1, 2\)"),
        (7, r"one axis, not shape \(\)"),
    ],
)
def test_decode_names_the_fault(ids: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TOKENIZER.decode(ids)  # type: ignore[arg-type]


def test_encode_names_the_fault() -> None:
    with pytest.raises(ValueError, match=r"texts\[0\] has a lone surrogate, '\\ud800', at position 2"):
        TOKENIZER.encode("ab\ud800c")
    with pytest.raises(ValueError, match=r"texts\[1\] has a lone surrogate.* position 0"):
        TOKENIZER.encode_batch(["fine", "\udfff"], workers=2)
    with pytest.raises(TypeError, match=r"texts\[0\] is of type bytes"):
        TOKENIZER.encode(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"texts\[1\] is of type NoneType"):
        TOKENIZER.encode_batch(["a", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not a str"):
        TOKENIZER.encode_batch("a text")
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        TOKENIZER.encode_batch(["a"], workers=0)


def test_copies_are_equal_and_work() -> None:
    for other in (pickle.loads(pickle.dumps(TOKENIZER)), copy.deepcopy(TOKENIZER), copy.copy(TOKENIZER)):
        assert other == TOKENIZER and hash(other) == hash(TOKENIZER)
        assert other.encode("the same ids").tolist() == TOKENIZER.encode("the same ids").tolist()
    assert TOKENIZER != "the same"
    assert "32000 pieces" in repr(TOKENIZER)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no text model at .*nowhere.model"):
        TextTokenizer.from_file(tmp_path / "nowhere.model")
    for name, content in (("empty", b""), ("prose", b"This is no model."), ("zeros", bytes(100))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.*not a SentencePiece model"):
            TextTokenizer.from_file(tmp_path / name)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "prose.txt").write_text((SAMPLES / "devils_dictionary.txt").read_text(encoding="utf-8"), encoding="utf-8")
    # A space mark, a NUL, Windows line ends and a line beyond the trainer's limit are nothing to fail at.
    (folder / "odd.txt").write_bytes("a \u2581 b\x00c\r\n\r\n".encode() + b"word " * 3000)
    return [folder / "prose.txt", folder / "odd.txt"]


def test_a_trained_model_round_trips_and_is_the_same_again(corpus: list[Path], tmp_path: Path) -> None:
    first = train_text_model(corpus, tmp_path / "first.model", 600)
    second = train_text_model(corpus, tmp_path / "second.model", 600)
    assert (tmp_path / "first.model").read_bytes() == (tmp_path / "second.model").read_bytes() == first.model_bytes
    assert first == second == TextTokenizer.from_file(tmp_path / "first.model") and first != TOKENIZER
    assert (first.vocabulary_size, first.end_id) == (600, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.model", "second.model"]
    for text in NASTY:
        assert first.decode(first.encode(text)) == text


def test_a_sample_follows_the_seed(corpus: list[Path], tmp_path: Path) -> None:
    same, again, other = (
        train_text_model(corpus, tmp_path / "model", 450, max_sentences=100, seed=seed).sha256 for seed in (1, 1, 2)
    )
    assert same == again != other


def test_training_names_the_fault(corpus: list[Path], tmp_path: Path) -> None:
    out, empty = tmp_path / "model", tmp_path / "empty.txt"
    empty.touch()
    with pytest.raises(ValueError, match="no files"):
        train_text_model([], out)
    with pytest.raises(FileNotFoundError, match="no file to train on at .*missing.txt"):
        train_text_model([tmp_path / "missing.txt"], out)
    with pytest.raises(ValueError, match="the 1 files to train on are empty"):
        train_text_model([empty], out)
    with pytest.raises(ValueError, match="no model of 32000 pieces can be made from this text: .*too high"):
        train_text_model(corpus, out)
    with pytest.raises(ValueError, match="no model of 100 pieces"):
        train_text_model(corpus, out, 100)
    with pytest.raises(ValueError, match=r"character_coverage must be in \(0, 1\]"):
        train_text_model(corpus, out, 600, character_coverage=1.5)
    assert not out.exists()


def test_a_foreign_model(corpus: list[Path], tmp_path: Path) -> None:
    """One with other settings: it normalizes, adds a space, has no bytes and no end piece."""
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus[0]), model_prefix=str(tmp_path / "other"), vocab_size=300, eos_id=-1, minloglevel=2
    )
    other = TextTokenizer.from_file(tmp_path / "other.model")
    bare = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "other.model"))
    for text in ("to land a fish", "a \u2581 b"):
        assert other.encode(text).tolist() == bare.encode(text)
    assert other.decode(other.encode("to land a fish")) == "to land a fish"
    assert other.unknown_count(other.encode("\u8a9e")) == 1
    with pytest.raises(ValueError, match="no end piece"):
        _ = other.end_id


def test_english_is_as_short_as_in_a_model_known_to_be_good() -> None:
    try:
        files = distribution("mistral-common").files or []
    except PackageNotFoundError:
        pytest.skip("mistral-common is not installed: nothing to compare with")
    model = next(str(file.locate()) for file in files if file.name == "tokenizer.model.v1")
    good = TextTokenizer.from_file(model)
    for text in (
        (SAMPLES / "devils_dictionary.txt").read_text(encoding="utf-8"),
        (SAMPLES / "en.txt").read_text(encoding="utf-8"),
        "\n".join(pydoc_data.topics.topics.values()),
    ):
        assert len(TOKENIZER.encode(text)) <= len(good.encode(text)) / 0.95


@pytest.fixture(scope="module")
def normalizing(tmp_path_factory: pytest.TempPathFactory, corpus: list[Path]) -> TextTokenizer:
    """A model of NFKC, which merges and drops spaces, with a space before every text and with bytes."""
    prefix = str(tmp_path_factory.mktemp("model") / "normalizing")
    settings = {"input": str(corpus[0]), "model_prefix": prefix, "vocab_size": 600, "byte_fallback": True}
    sentencepiece.SentencePieceTrainer.train(**settings, normalization_rule_name="nmt_nfkc", minloglevel=2)
    return TextTokenizer.from_file(f"{prefix}.model")


class TestSpans:
    def test_by_hand(self):
        tokenizer = TOKENIZER
        text = "go \u2603 \u2581x"
        pieces, spans = tokenizer.pieces(text), tokenizer.offsets(text).tolist()
        assert pieces == tokenizer.pieces(tokenizer.encode(text))
        snowman = pieces.index("<0xE2>")
        assert pieces[snowman : snowman + 3] == ["<0xE2>", "<0x98>", "<0x83>"]
        assert spans[snowman : snowman + 3] == [[3, 4]] * 3
        assert spans[-4:-1] == [[5, 6]] * 3 and spans[-1] == [6, 7]
        assert tokenizer.offsets("").shape == (0, 2)

    @given(st.text(max_size=40) | st.text("a\u2581 \u2603\U0001f642x\u0301\n", max_size=20))
    def test_spans_lie_side_by_side_and_hold_their_pieces(self, text):
        tokenizer = TOKENIZER
        last = None
        ids, spans = tokenizer.encode(text), tokenizer.offsets(text)
        assert spans.shape == (len(ids), 2)
        stop = 0
        for i, (start, end) in zip(ids, spans.tolist(), strict=True):
            piece = tokenizer.pieces([i])[0]
            if not piece.startswith("<0x"):
                assert tokenizer.decode([i]) == text[start:end]
            assert (start == stop and end > start) or (start, end) == last
            last, stop = (start, end), end
        assert stop == len(text)

    @given(st.text(max_size=30) | st.text("a \ufb01\uff21\u00bd\u2581  ", max_size=20))
    def test_a_model_that_normalizes_keeps_the_spans_of_the_original(self, normalizing, text):
        spans = normalizing.offsets(text)
        assert len(spans) == len(normalizing.encode(text))
        assert (spans[:, 0] <= spans[:, 1]).all() and (np.diff(spans, axis=0) >= 0).all()
        assert spans.size == 0 or 0 <= spans.min() <= spans.max() <= len(text)

    def test_a_ligature_is_one_character_of_the_text(self, normalizing):
        text = "a \ufb01 b"
        spans = normalizing.offsets(text)
        assert "fi" in "".join(normalizing.pieces(text))
        parts = [text[start:stop] for start, stop in sorted(set(map(tuple, spans.tolist())))]
        assert "".join(parts).replace(" ", "") == "a\ufb01b"

    def test_rows_are_decoded_in_order_and_named(self):
        assert TOKENIZER.decode_batch([*TOKENIZER.encode_batch(["one", "", "two"])]) == ["one", "", "two"]
        with pytest.raises(ValueError, match=r"row 1: ids\[0\] is -1"):
            TOKENIZER.decode_batch([[5], [-1]])

"""Text <-> ids: SentencePiece with 32,000 pieces (Reed et al. 2022, section 2.1).

The paper's own model was never published. `models/text.model` is this project's; `models/SOURCES.md` describes how it
was made. `train_text_model` makes another from any text with the same settings.
"""

import functools
import hashlib
import importlib.resources
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.arrays import plain_array

SPACE_MARK = "\u2581"  # SentencePiece writes a space as this character, so the character itself is spelled in bytes


class TextTokenizer:
    r"""Strings to ids and back, by the model that is shipped with this package or by another.

    >>> tokenizer = TextTokenizer()
    >>> tokenizer.vocabulary_size, tokenizer.end_id
    (32000, 2)
    >>> tokenizer.encode("stack the red block")
    array([6905,  275, 2708, 2212], dtype=int32)
    >>> tokenizer.decode(tokenizer.encode("  two spaces,\n\ta tab"))
    '  two spaces,\n\ta tab'

    With the shipped model `decode(encode(text)) == text` for every Unicode string. Another model may normalize, or have
    no bytes: then this need not hold, and `unknown_count` counts what was lost. Two tokenizers are equal if the bytes
    of their models are; pickles and copies contain these bytes.
    """

    def __init__(self) -> None:
        self._load(
            (importlib.resources.files("gato_tokenize") / "models" / "text.model").read_bytes(), "the shipped model"
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "TextTokenizer":
        """Load a SentencePiece model file. Raises FileNotFoundError, or ValueError if it is not such a model."""
        try:
            model_bytes = Path(path).read_bytes()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"no text model at {os.fspath(path)!r}; expected a SentencePiece .model file"
            ) from error
        except IsADirectoryError as error:
            hint = "that of a dataset or a run is its tokenizer/text.model"
            raise ValueError(f"{os.fspath(path)!r} is a folder, not a SentencePiece .model file; {hint}") from error
        return cls.from_bytes(model_bytes, source=repr(os.fspath(path)))

    @classmethod
    def from_bytes(cls, model_bytes: bytes, *, source: str = "the bytes given") -> "TextTokenizer":
        """Load the bytes of a model file. Raises ValueError, which names `source`, if they are not such a model."""
        tokenizer = cls.__new__(cls)
        tokenizer._load(model_bytes, source)
        return tokenizer

    def _load(self, model_bytes: bytes, source: str) -> None:
        # Empty bytes are refused here, because the library takes them for no model and fails only at the first use.
        if not model_bytes:
            raise ValueError(f"{source} is empty, not a SentencePiece model")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
        except RuntimeError as error:
            raise ValueError(f"{source} ({len(model_bytes)} bytes) is not a SentencePiece model: {error}") from error
        # Since 0.2.2 the library can return arrays, which are 8% faster than its lists; `np.array` takes both.
        numpy_too = hasattr(self._processor, "encode_as_numpy")
        self._options: dict[str, Any] = {"return_type": "numpy"} if numpy_too else {"out_type": int}
        self.model_bytes = model_bytes
        self.vocabulary_size: int = self._processor.vocab_size()
        self.sha256: str = hashlib.sha256(model_bytes).hexdigest()
        self._unknown_id: int = self._processor.unk_id()
        marks = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_MARK.encode()]
        # A model that puts a space before every text, or lacks bytes, encodes U+2581 as the library does.
        exact = self._processor.normalize("a") == "a" and all(self._processor.is_byte(mark) for mark in marks)
        self._mark_ids = marks if exact else []

    @functools.cached_property
    def _silent(self) -> NDArray[np.bool_]:
        """For each id, whether it is no text: control pieces and the unknown piece. Only decoding needs it."""
        ids = range(self.vocabulary_size)
        silent = (self._processor.is_control(i) or self._processor.is_unknown(i) for i in ids)
        return np.fromiter(silent, dtype=np.bool_, count=len(ids))

    @property
    def end_id(self) -> int:
        """The id of the end piece, which closes documents, captions and answers. Raises ValueError if there is none."""
        end: int = self._processor.eos_id()
        if end < 0:
            raise ValueError("this text model has no end piece (</s>): train or choose one that has")
        return end

    def encode(self, text: str) -> NDArray[np.int32]:
        """The ids of a text, int32[n], each in [0, vocabulary_size); nothing is added at the start or the end.

        Raises TypeError if it is not a str, ValueError naming the position of a lone surrogate (not Unicode text).
        """
        if not isinstance(text, str):
            raise _not_texts([text])
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str], workers: int = 1) -> list[NDArray[np.int32]]:
        """`encode` each text, in `workers` threads; the result is in order and does not depend on `workers`.

        Raises TypeError and ValueError as `encode` does, naming the index of the text; ValueError for workers < 1.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise _not_texts(texts)
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        try:
            if workers == 1:  # the library starts a thread for a batch, which costs more than a short text does
                ids = [self._encode_one(text) for text in texts]
            else:
                ids = self._processor.encode(list(texts), num_threads=workers, **self._options)
                for at, text in enumerate(texts):
                    if self._mark_ids and SPACE_MARK in text:
                        ids[at] = self._encode_one(text)
        except (RuntimeError, TypeError, UnicodeError) as error:  # which of them depends on the library's version
            raise _surrogate(texts, error) from error
        return [np.array(row, dtype=np.int32) for row in ids]

    def _encode_one(self, text: str) -> ArrayLike:
        if not self._mark_ids or SPACE_MARK not in text:
            ids: ArrayLike = self._processor.encode(text, **self._options)
            return ids
        parts = [self._processor.encode(part, out_type=int) for part in text.split(SPACE_MARK)]
        return [*parts[0], *(i for part in parts[1:] for i in (*self._mark_ids, *part))]

    def decode(self, ids: ArrayLike) -> str:
        """The text of int[n] ids, each in [0, vocabulary_size); control pieces (start, end, unknown) give nothing.

        Bytes that are not UTF-8, which a model may generate, become U+FFFD. Raises ValueError naming the first id that
        is out of range or not an integer, with its index.
        """
        array = self._checked(ids)
        kept = array[~self._silent[array]]
        text: str = self._processor.decode(kept.tolist())
        return text

    def decode_batch(self, rows: Sequence[ArrayLike]) -> list[str]:
        """`decode` each row of ids, in order. Raises as `decode` does, naming the index of the row."""
        texts = []
        for at, ids in enumerate(rows):
            try:
                texts.append(self.decode(ids))
            except ValueError as error:
                raise ValueError(f"row {at}: {error}") from error
        return texts

    def pieces(self, text_or_ids: str | ArrayLike) -> list[str]:
        r"""The pieces of a text or of int[n] ids, as the model spells them: a space is U+2581, a byte is <0xE2>.

        >>> TextTokenizer().pieces("stack it"), TextTokenizer().pieces([6905, 275])
        (['stack', '\u2581it'], ['stack', '\u2581the'])

        Raises as `encode` or `decode` does.
        """
        ids = self.encode(text_or_ids) if isinstance(text_or_ids, str) else text_or_ids
        return [self._processor.id_to_piece(i) for i in self._checked(ids).tolist()]

    def offsets(self, text: str) -> NDArray[np.int64]:
        """The span [start, stop) in characters of `text` that each id of `encode(text)` stands for: int64[n, 2].

        The bytes of one character all have its span. A model that normalizes may give an id a span of another length
        than its piece, or an empty one.

        >>> TextTokenizer().offsets("stack the red block").tolist()
        [[0, 5], [5, 9], [9, 13], [13, 19]]

        Raises as `encode` does.
        """
        self.encode(text)  # refuses what is no Unicode text
        spans: list[tuple[int, int]] = []
        at = 0
        for number, part in enumerate(text.split(SPACE_MARK) if self._mark_ids else [text]):
            if number:
                spans += [(at, at + 1)] * len(self._mark_ids)
                at += 1
            spans += [(at + start, at + stop) for start, stop in self._spans(part)]
            at += len(part)
        return np.array(spans, np.int64).reshape(-1, 2)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """The spans of a text as the library finds them: in bytes, a character's at the last of its byte pieces."""
        starts = itertools.accumulate((len(character.encode()) for character in text), initial=0)
        characters = {byte: i for i, byte in enumerate(starts)}
        spans: list[tuple[int, int]] = []
        waiting = 0  # byte pieces before the last of their character
        for piece in self._processor.encode(text, return_type="proto").pieces:
            span = characters[piece.begin], characters[piece.end]
            if self._processor.is_byte(piece.id) and piece.begin == piece.end:
                waiting += 1
                continue
            spans += [span] * (waiting + 1)
            waiting = 0
        return spans

    def unknown_count(self, ids: ArrayLike) -> int:
        """Count the ids of the unknown piece, each a loss; the shipped model makes none. Raises as `decode` does."""
        return int(np.count_nonzero(self._checked(ids) == self._unknown_id))

    def _checked(self, ids: ArrayLike) -> NDArray[np.int64]:
        array = plain_array(ids, name="id")
        if array.ndim != 1:
            raise ValueError(f"ids must have one axis, not shape {array.shape}")
        if array.size == 0:
            return np.empty(0, dtype=np.int64)
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= self.vocabulary_size:
            for at, value in enumerate(np.asarray(ids, dtype=object)):
                if not self._is_id(value):
                    raise ValueError(f"ids[{at}] is {value!r}: ids are integers in [0, {self.vocabulary_size})")
        return array.astype(np.int64)

    def _is_id(self, value: object) -> bool:
        integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
        return integer and 0 <= int(value) < self.vocabulary_size  # type: ignore[call-overload]

    def __reduce__(self) -> tuple[Callable[[bytes], "TextTokenizer"], tuple[bytes]]:
        return type(self).from_bytes, (self.model_bytes,)

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, TextTokenizer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"<TextTokenizer of {self.vocabulary_size} pieces, sha256 {self.sha256[:12]}>"


def _not_texts(texts: object) -> TypeError:
    if isinstance(texts, str):
        return TypeError("texts must be a list of str, not a str; encode takes one text")
    found = next((at, item) for at, item in enumerate(texts) if not isinstance(item, str))  # type: ignore[arg-type, var-annotated]
    return TypeError(f"texts[{found[0]}] is of type {type(found[1]).__name__}; a text is a str")


def _surrogate(texts: Sequence[str], error: Exception) -> Exception:
    """Return the fault that made the library refuse these texts, or else its own error."""
    for at, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as fault:
            return ValueError(
                f"texts[{at}] has a lone surrogate, {text[fault.start]!r}, at position {fault.start}: no Unicode text"
            )
    return error

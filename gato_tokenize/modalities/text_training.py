"""Training a SentencePiece model with the settings of the shipped one."""

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import sentencepiece

from gato_tokenize.modalities.text import SPACE_MARK, TextTokenizer

_LINE_LENGTH = 1000  # characters; the trainer drops lines of more than 4192 bytes, and no character has more than 4

# These settings make every string come back exactly: no normalization, no space added or removed, and bytes for
# characters without a piece. Line ends and tabs are pieces of their own, so they are never part of a word. Runs of
# spaces are pieces too, so the indentation of code costs one token.
_SETTINGS: dict[str, Any] = {
    "model_type": "bpe",
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "byte_fallback": True,
    "allow_whitespace_only_pieces": True,
    "split_digits": True,
    "user_defined_symbols": ["\n", "\n\n", "\r\n", "\t", "\t\t", "\t\t\t", "\t\t\t\t"],
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "num_threads": 2,  # fixed, because the model contains the number
    "minloglevel": 2,
}


def train_text_model(
    files: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    vocabulary_size: int = 32_000,
    *,
    character_coverage: float = 0.9997,
    max_sentences: int = 0,
    seed: int = 0,
) -> TextTokenizer:
    """Train a model with the settings of the shipped one on the lines of UTF-8 files, write it to `out` and return it.

    The rarest characters, beyond `character_coverage` in (0, 1] of the text, get no piece and are spelled in bytes.
    With `max_sentences` the trainer sees that many lines, drawn evenly by `seed`; 0 means all. It holds them in memory
    (the shipped model: 171 MB of text, half a minute, 1.3 GB). With sentencepiece 0.2.3 the same text and arguments
    gave the same bytes, in this process and in another. `out` appears whole or not at all.

    Raises FileNotFoundError for a missing file; ValueError for bytes that are not UTF-8, no files, files without text,
    an unsuitable number, or a vocabulary that is too large for the text or too small for its characters.
    """
    if not 0 < character_coverage <= 1 or max_sentences < 0:
        raise ValueError(
            "character_coverage must be in (0, 1] and max_sentences at least 0, "
            f"not {character_coverage} and {max_sentences}"
        )
    lines = _lines([Path(file) for file in files])
    model = BytesIO()
    arguments: dict[str, Any] = {"vocab_size": vocabulary_size, "character_coverage": character_coverage}
    try:
        sentences = _sample(lines, max_sentences, seed) if max_sentences else lines
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=model, **_SETTINGS, **arguments
        )
    except RuntimeError as error:
        raise ValueError(f"no model of {vocabulary_size} pieces can be made from this text: {error}") from error
    tokenizer = TextTokenizer.from_bytes(model.getvalue(), source="the model just trained")
    _write_whole(Path(out), model.getvalue())
    return tokenizer


def _lines(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the lines that have text, cut to `_LINE_LENGTH`. The files are checked before the first line is read."""
    if not paths:
        raise ValueError("no files to train on")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"no file to train on at {str(path)!r}")
    if not any(path.stat().st_size for path in paths):
        raise ValueError(f"the {len(paths)} files to train on are empty")
    return _read_lines(paths)


def _read_lines(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        with open(path, "rb") as file:
            for number, data in enumerate(file, 1):
                line = _decoded(data, path, number).rstrip("\r\n").replace(SPACE_MARK, " ").replace("\0", " ")
                parts = (line[at : at + _LINE_LENGTH] for at in range(0, len(line), _LINE_LENGTH))
                yield from (part for part in parts if part.strip())


def _decoded(data: bytes, path: Path, number: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, line {number}, byte {error.start + 1} is 0x{data[error.start]:02X}: that is not UTF-8. Convert"
            f" the file first, for example from Latin-1: iconv -f LATIN1 -t UTF-8 {path.name}"
        ) from error


def _sample(lines: Iterator[str], count: int, seed: int) -> list[str]:
    """Draw `count` lines evenly in one pass. The trainer's own sampling ignores its seed."""
    generator = random.Random(seed)
    kept: list[str] = []
    for at, line in enumerate(lines):
        if at < count:
            kept.append(line)
        elif (slot := generator.randrange(at + 1)) < count:
            kept[slot] = line
    return kept


def _write_whole(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp makes a file that only its owner can read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

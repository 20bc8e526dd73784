"""Segments: the records into which a long episode is cut."""

import hashlib
import itertools

import numpy as np

from gato_tokenize.episode import EpisodeMetadata
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.tfrecord import MAX_RECORD_BYTES, check_record_size
from gato_tokenize.vocabulary import Kind

MAX_TOKENS = 16_384  # a record is cut after the timestep at which it reaches this many tokens,
MAX_BYTES = 8 << 20  # or this many bytes of ids and pixels before compression
_TOKEN = 16  # bytes that a token takes at most in a record, apart from pixels


def segments(record: Record, max_tokens: int = MAX_TOKENS, max_bytes: int = MAX_BYTES) -> list[Record]:
    """Cut a whole episode into records, each after the timestep at which it reaches `max_tokens` tokens or `max_bytes`
    bytes of ids and pixels before compression, and fill in the metadata that need the whole episode. The content hash
    is filled in only if there are several: one record is all that it takes to compute it.

    The records share the episode's arrays. Raises ValueError naming the timesteps whose record would be longer than
    readers accept.
    """
    sequence, rewards = record.sequence, record.rewards
    cuts = _cuts(sequence, max_tokens, max_bytes)
    count = len(cuts) - 1
    known = {**vars(record.metadata), "num_steps": sequence.num_steps, "num_segments": count}
    known["content_hash"] = content_hash(sequence) if count > 1 else ""
    found = []
    for index, (start, stop) in enumerate(itertools.pairwise(cuts)):
        known |= {"segment_index": index, "step_offset": start}
        part = rewards if rewards is None or count == 1 else rewards[start:stop]
        steps = sequence if count == 1 else sequence.steps(start, stop)
        found.append(Record(steps, EpisodeMetadata(**known), part))
        _check_size(found[-1])
    return found


def _check_size(record: Record) -> None:
    """Raise ValueError if a record is longer than readers accept. It is encoded for that only if it may be."""
    sequence, start = record.sequence, record.metadata.step_offset
    uncompressed = _TOKEN * len(sequence) + sequence.patches.nbytes + sum(map(len, sequence.encoded))
    if uncompressed < MAX_RECORD_BYTES // 2:
        return
    try:
        check_record_size(len(record.to_bytes()))
    except ValueError as error:
        raise ValueError(
            f"timesteps {start} to {start + sequence.num_steps - 1} become {error}; resize the pictures, or shorten the"
            " texts, of each timestep"
        ) from error


def _cuts(sequence: TokenSequence, max_tokens: int, max_bytes: int) -> list[int]:
    """The timesteps at which segments start, then the number of timesteps."""
    if 0 < len(sequence) < max_tokens and len(sequence) * 4 + sequence.patches.nbytes < max_bytes:
        return [0, sequence.num_steps]  # the common case, without a pass over the tokens
    patches_before = np.concatenate([[0], np.cumsum(sequence.kinds == Kind.PATCH)])[sequence.step_splits]
    bytes_before = sequence.step_splits * 4 + patches_before * (16 * 16 * 3)
    cuts = [0]
    while cuts[-1] < sequence.num_steps:
        start = cuts[-1]
        full = [
            np.searchsorted(before, before[start] + limit)
            for before, limit in ((sequence.step_splits, max_tokens), (bytes_before, max_bytes))
        ]
        cuts.append(max(start + 1, min(*map(int, full), sequence.num_steps)))
    return cuts


def content_hash(sequence: TokenSequence) -> str:
    """The sha256, as hex, of a sequence's tokens and pixels; equal sequences have equal hashes."""
    arrays = (sequence.ids, sequence.kinds, sequence.loss_mask, sequence.step_splits, sequence.grids)
    digest = hashlib.sha256(b"".join(part for a in arrays for part in (len(a).to_bytes(8, "little"), a.tobytes())))
    digest.update(np.ascontiguousarray(sequence.patches).data)
    return digest.hexdigest()

"""Segments: the records into which a long episode is cut."""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np

from gato_tokenize.episode import EpisodeMetadata
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.storage.records import Record
from gato_tokenize.vocabulary import Kind

MAX_TOKENS = 16_384  # a record is cut after the timestep at which it reaches this many tokens,
MAX_BYTES = 8 << 20  # or this many bytes of ids and pixels before compression


def segments(record: Record, max_tokens: int = MAX_TOKENS, max_bytes: int = MAX_BYTES) -> Iterator[Record]:
    """Cut a whole episode into records, each after the timestep at which it reaches `max_tokens` tokens or `max_bytes`
    bytes of ids and pixels before compression, and fill in the metadata that need the whole episode. The content hash
    is filled in only if there are several: one record is all that it takes to compute it.
    """
    sequence, rewards = record.sequence, record.rewards
    cuts = _cuts(sequence, max_tokens, max_bytes)
    count = len(cuts) - 1
    known = {**vars(record.metadata), "num_steps": sequence.num_steps, "num_segments": count}
    known["content_hash"] = content_hash(sequence) if count > 1 else ""
    for index, (start, stop) in enumerate(itertools.pairwise(cuts)):
        known |= {"segment_index": index, "step_offset": start}
        if count == 1:
            yield Record(sequence, EpisodeMetadata(**known), rewards)
        else:
            part = None if rewards is None else rewards[start:stop]
            yield Record(sequence.steps(start, stop), EpisodeMetadata(**known), part)


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

"""Decision: an action of a policy, with the tokens it was made from and the distribution of each id in it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import EpisodeTokenizer, TokenSequence


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """One id of an action, chosen from n legal ones: `first`, `first` + 1, and so on."""

    id: int
    first: int
    probabilities: NDArray[np.float32]  # [n], which sum to 1: of the draw, at its temperature


@dataclasses.dataclass(frozen=True, eq=False)
class Decision:
    """An action, the tokens of its timestep (observation, separator, action), and how each id of it was chosen."""

    action: Any  # as `GatoPolicy.act` returns it
    tokens: TokenSequence  # of one timestep
    choices: tuple[Choice, ...]


def timestep(tokenizer: EpisodeTokenizer, observation: TokenSequence, ids: Sequence[int]) -> TokenSequence:
    """Join an encoded observation and the ids of the action that answers it: the tokens of their timestep."""
    kinds = [int(slot.kind) for slot in tokenizer.slots if slot.action for _ in range(slot.length or 0)]
    action = TokenSequence.document(np.array(ids, np.int32))
    joined = TokenSequence.join([observation, dataclasses.replace(action, kinds=np.array(kinds, np.uint8))])
    return dataclasses.replace(joined, step_splits=np.array([0, len(joined)], np.int64))

"""Masked arrays: a hidden value is refused by its index at every entry; a mask that hides nothing is legal."""

import numpy as np
import pytest

from gato_tokenize import (
    ContinuousSpec,
    ContinuousTokenizer,
    DiscreteSpec,
    DiscreteTokenizer,
    Episode,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    ImageTokenizer,
    TextTokenizer,
)
from gato_tokenize.arrays import plain_array
from gato_tokenize.modalities.continuous import inverse_mu_law, mu_law
from gato_tokenize.modalities.image import Patches


def hiding(values, *index):
    array = np.ma.array(values, mask=np.zeros(np.shape(values), bool))
    array.mask[index] = True
    return array


NUMBERS, PICTURES = np.arange(6).reshape(3, 2), np.zeros((2, 16, 16, 3), np.uint8)
SPEC = EpisodeSpec({"real": ContinuousSpec(2), "whole": DiscreteSpec(9, 2), "eye": ImageSpec((16, 16, 3))})


def episode(**changed):
    observation = {"real": NUMBERS[:2], "whole": NUMBERS[:2], "eye": PICTURES, **changed}
    return Episode(SPEC, observation)


ENTRIES = {
    "continuous": (ContinuousTokenizer(companded=True).encode, NUMBERS),
    "continuous, clipped": (ContinuousTokenizer(companded=True).clipped, NUMBERS),
    "continuous, decoded": (ContinuousTokenizer(companded=True).decode, NUMBERS + 32000),
    "bounds": (lambda high: ContinuousTokenizer(companded=False, low=-1, high=high), NUMBERS + 1),
    "mu-law": (mu_law, NUMBERS),
    "mu-law, inverse": (inverse_mu_law, NUMBERS),
    "discrete": (DiscreteTokenizer(9).encode, NUMBERS),
    "discrete, decoded": (DiscreteTokenizer(9).decode, NUMBERS),
    "text, decoded": (TextTokenizer().decode, NUMBERS[:, 0]),
    "picture": (ImageTokenizer().encode, PICTURES[0]),
    "pictures": (ImageTokenizer().encode_frames, PICTURES),
    "patches": (lambda pixels: Patches(pixels, (2, 1)), PICTURES),
    "action": (EpisodeTokenizer(EpisodeSpec(ContinuousSpec(), DiscreteSpec(9, 3))).decode_action, NUMBERS[:, 0]),
    "episode, real": (lambda value: episode(real=value), NUMBERS[:2]),
    "episode, whole": (lambda value: episode(whole=value), NUMBERS[:2]),
    "episode, picture": (lambda value: episode(eye=value), PICTURES),
    "spec": (lambda size: DiscreteSpec(size, (3, 2)), NUMBERS + 1),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_each_entry(name):
    take, values = ENTRIES[name]
    take(np.ma.array(values))  # hides nothing
    index = (1,) + (0,) * (np.ndim(values) - 1)
    with pytest.raises(ValueError, match=r"at index \[1(, 0)*\] is masked: fill it, or leave it out"):
        take(hiding(values, *index))
    with pytest.raises(ValueError, match=r"at index \[0, 1(, 0)*\] is masked"):
        plain_array([hiding(values, *index)])


def test_an_episode_names_the_field():
    with pytest.raises(ValueError, match=r"^observation/real at index \[1, 0\] is masked"):
        episode(real=[NUMBERS[0], hiding(NUMBERS[0], 0)])


def test_one_masked_number():
    with pytest.raises(ValueError, match="^value is masked"):
        plain_array(np.ma.masked)
    with pytest.raises(ValueError, match=r"at index \[1\] is masked"):
        ContinuousTokenizer(companded=True).encode([1.0, np.ma.masked])

import pytest

from gato_model.data.token_identity import TokenIdentity, token_identity
from gato_tokenize import EpisodeSpec, TextTokenizer, Vocabulary
from gato_tokenize.storage.dataset import DatasetTokenizer

NAMES = ("a", "b")


def test_data_without_text_fits_any_text_model() -> None:
    silent, spoken = TokenIdentity(), TokenIdentity(Vocabulary(), "1f")
    assert silent.joined(spoken, NAMES) == spoken.joined(silent, NAMES) == spoken.joined(spoken, NAMES) == spoken
    assert silent.joined(silent, NAMES) == silent


def test_two_text_models_do_not_fit() -> None:
    with pytest.raises(ValueError, match="a and b have different text models: 1f and 2f.*check_identity=False"):
        TokenIdentity(Vocabulary(), "1f").joined(TokenIdentity(Vocabulary(), "2f"), NAMES)


def test_two_vocabularies_do_not_fit() -> None:
    with pytest.raises(ValueError, match="a and b have different vocabularies: .*false.* and .*true"):
        TokenIdentity(Vocabulary(), "1f").joined(TokenIdentity(Vocabulary(disjoint=True), "1f"), NAMES)


def test_json_and_back() -> None:
    for identity in (TokenIdentity(), TokenIdentity(Vocabulary(disjoint=True), "1f")):
        assert TokenIdentity.from_json(identity.to_json()) == identity
    assert TokenIdentity().sha256 != TokenIdentity(Vocabulary(), "1f").sha256
    for text in ("[]", '{"vocabulary": {}}'):
        with pytest.raises(ValueError, match="a token identity has the keys"):
            TokenIdentity.from_json(text)


def test_it_does_not_depend_on_the_tasks() -> None:
    one = DatasetTokenizer.for_specs({"text": EpisodeSpec.document()})
    two = DatasetTokenizer.for_specs({"captions": EpisodeSpec.caption(), "text": EpisodeSpec.document()})
    assert one.sha256 != two.sha256
    assert token_identity(one) == token_identity(two) == TokenIdentity(Vocabulary(), TextTokenizer().sha256)

"""TokenIdentity: the vocabulary and the text model, which give ids their meaning and must not be mixed."""

import dataclasses
import hashlib
import json

from gato_tokenize import Vocabulary
from gato_tokenize.storage.dataset import DatasetTokenizer


@dataclasses.dataclass(frozen=True)
class TokenIdentity:
    """The vocabulary and the sha256 of the text model; None without text, because such data fits any text model.

    The hash of a dataset's whole tokenizer would be too strict: it changes with the tasks, and a mixture has many.
    """

    vocabulary: Vocabulary = Vocabulary()
    text_model_sha256: str | None = None

    def joined(self, other: "TokenIdentity", names: tuple[str, str]) -> "TokenIdentity":
        """Return the identity of both together. Raises ValueError naming both if their ids mean different things."""
        if self.vocabulary != other.vocabulary:
            what = f"vocabularies: {self.vocabulary.to_json()} and {other.vocabulary.to_json()}"
        elif None not in (self.text_model_sha256, other.text_model_sha256) and self != other:
            what = f"text models: {str(self.text_model_sha256)[:12]} and {str(other.text_model_sha256)[:12]}"
        else:
            return TokenIdentity(self.vocabulary, self.text_model_sha256 or other.text_model_sha256)
        raise ValueError(
            f"{names[0]} and {names[1]} have different {what}. An id means one thing here and another there: convert"
            " one of them again, with the other's --vocabulary and --text-model (tokenizer/text.model in its folder)."
            " In Python, check_identity=False mixes them as they are"
        )

    def to_json(self) -> str:
        """Write it as canonical JSON: equal identities give equal text."""
        return json.dumps(
            {"text_model_sha256": self.text_model_sha256, "vocabulary": json.loads(self.vocabulary.to_json())}
        )

    @classmethod
    def from_json(cls, text: str) -> "TokenIdentity":
        """Read what `to_json` wrote. Raises ValueError for other keys."""
        content = json.loads(text)
        if not isinstance(content, dict) or set(content) != {"text_model_sha256", "vocabulary"}:
            raise ValueError(f"a token identity has the keys text_model_sha256 and vocabulary, not {text[:80]!r}")
        return cls(Vocabulary.from_json(json.dumps(content["vocabulary"])), content["text_model_sha256"])

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def token_identity(tokenizer: DatasetTokenizer) -> TokenIdentity:
    """Return the identity of a dataset's tokenizer.

    >>> from gato_tokenize import DiscreteSpec, EpisodeSpec
    >>> token_identity(DatasetTokenizer({"grid": EpisodeSpec({"cell": DiscreteSpec(7)})})).text_model_sha256 is None
    True
    """
    return TokenIdentity(tokenizer.vocabulary, tokenizer.text.sha256 if tokenizer.text else None)

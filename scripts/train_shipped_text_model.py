"""Train the text model that the package ships, from the folder that `build_text_corpus.py` made.

python scripts/train_shipped_text_model.py FOLDER [OUT]
"""

import sys
from pathlib import Path

from gato_tokenize.modalities.text_training import train_text_model

SHIPPED = Path(__file__).parent.parent / "gato_tokenize" / "models" / "text.model"


def main(folder: Path, out: Path = SHIPPED) -> None:
    """Train on every group of the corpus, in alphabetical order; print the numbers that SOURCES.md states."""
    files = sorted((folder / "train").glob("*.txt"))
    tokenizer = train_text_model(files, out)
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files):,} bytes of text")
    print(f"{tokenizer.vocabulary_size} pieces, {out.stat().st_size:,} bytes, sha256 {tokenizer.sha256}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python scripts/train_shipped_text_model.py FOLDER [OUT]")
    main(*map(Path, sys.argv[1:]))

"""The shipped text model beside one known to be good: characters per token, and what our wrapping costs.

    python -m benchmarks.bench_text [CORPUS]

Needs `mistral-common` installed, for its `data/tokenizer.model.v1` (32,000 pieces as well; the package itself is
not imported). The samples are in the repository or in the interpreter; none was trained on. With the folder that
`scripts/build_text_corpus.py` made, the much larger held-out sets are measured too.
"""

import importlib.util
import pydoc_data.topics
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import sentencepiece

from gato_tokenize.modalities.text import TextTokenizer

SAMPLES = Path(__file__).parent.parent / "tests" / "data" / "text"
MODULES = "argparse fractions heapq mailbox pathlib statistics textwrap zipfile".split()  # held out from the corpus
LIMIT = 500_000  # characters of one held-out file of the corpus that are measured
SPEED_BYTES = 20_000_000  # encoded by each side, in turns


def main() -> None:
    """Print both tables."""
    ours = TextTokenizer()
    print(f"{'':34}{'characters':>12}{'theirs':>9}{'ours':>9}{'ratio':>8}")
    theirs = TextTokenizer.from_file(known_model())
    texts = shipped_samples()
    for name, documents in texts.items():
        print_row(name, documents, ours, theirs)
    for folder in sys.argv[1:]:
        for name, documents in corpus_samples(Path(folder)).items():
            print_row(name, documents, ours, theirs)
    print_speed(ours, [document for documents in texts.values() for document in documents])


def known_model() -> Path:
    """Find the file inside the installed package; SystemExit with advice if it is not there."""
    if importlib.util.find_spec("mistral_common") is None:
        sys.exit("nothing to compare with: pip install --no-deps mistral-common")
    files = distribution("mistral-common").files or []
    return Path(str(next(file.locate() for file in files if file.name == "tokenizer.model.v1")))


def shipped_samples() -> dict[str, list[str]]:
    """Return {name: documents}: English prose of three kinds, code, the languages."""
    library = Path(sysconfig.get_path("stdlib"))
    prose = {path.stem: [path.read_text(encoding="utf-8")] for path in sorted(SAMPLES.glob("*.txt"))}
    return {
        "English: documentation (pydoc)": list(pydoc_data.topics.topics.values()),
        "English: satire, 1911": prose.pop("devils_dictionary"),
        "English: a story": prose.pop("en"),
        "code: Python, 8 modules": [(library / f"{name}.py").read_text(encoding="utf-8") for name in MODULES],
        **{f"a story: {language}": documents for language, documents in prose.items()},
    }


def corpus_samples(folder: Path) -> dict[str, list[str]]:
    """Return {name: held-out documents}, one name for each file."""
    files = sorted((folder / "held_out").glob("*.txt"))
    texts = {path.stem: path.read_text(encoding="utf-8")[:LIMIT] for path in files}
    return {name: text.split("\f") for name, text in texts.items() if len(text) >= 20_000}


def print_row(name: str, documents: list[str], ours: TextTokenizer, theirs: TextTokenizer) -> None:
    characters = sum(map(len, documents))
    one, other = (sum(map(len, model.encode_batch(documents))) for model in (ours, theirs))
    print(f"{name:34}{characters:12,}{characters / other:9.3f}{characters / one:9.3f}{other / one:8.3f}")


def print_speed(ours: TextTokenizer, documents: list[str]) -> None:
    """Time one thread each, a megabyte at a time and in turns, so that a busy machine is unfair to neither."""
    size = sum(len(document.encode()) for document in documents)
    bare = sentencepiece.SentencePieceProcessor(model_proto=ours.model_bytes)
    runs = [lambda: ours.encode_batch(documents), lambda: bare.encode(documents, out_type=int, num_threads=1)]
    seconds: list[list[float]] = [[], []]
    turns = -(-SPEED_BYTES // size)
    for turn in range(turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            seconds[which].append(seconds_of(runs[which]))
    own, other = (statistics.median(column) for column in seconds)
    ratio = statistics.median(other / own for own, other in zip(*seconds, strict=True))
    print(f"\n{turns} times {len(documents)} documents, {turns * size / 1e6:.1f} MB, one thread, medians:")
    print(f"encode_batch {size / own / 1e6:.2f} MB/s, bare sentencepiece {size / other / 1e6:.2f} MB/s, ", end="")
    print(f"ratio {ratio:.3f}")


def seconds_of(run: Callable[[], object]) -> float:
    """Measure the CPU seconds of one run."""
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()

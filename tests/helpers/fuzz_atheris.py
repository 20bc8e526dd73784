"""Run the targets of `fuzz_targets.py` under the coverage-guided fuzzer atheris (`pip install atheris`).

    python tests/helpers/fuzz_atheris.py image -max_total_time=180

The words after the target's name are libFuzzer's options. A finding is written to `crash-*` in the current folder; add
it to `test_fuzz.py` once it is fixed.
"""

import sys
import tempfile
import warnings
from pathlib import Path


def main(target: str, options: list[str]) -> None:
    import atheris  # not a dependency of the tests

    with atheris.instrument_imports(include=["gato_tokenize", "pipelines", "PIL", "tarfile", "gzip"]):
        import fuzz_targets
    warnings.simplefilter("error")
    check = fuzz_targets.TARGETS[target]
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    for number, seed in enumerate(fuzz_targets.seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = ["-timeout=10", "-rss_limit_mb=1500", "-max_len=16384"]
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python tests/helpers/fuzz_atheris.py TARGET [libFuzzer's options]")
    main(sys.argv[1], sys.argv[2:])

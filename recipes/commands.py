"""The commands of the packages, as a person types them."""

import subprocess
import sys
from collections.abc import Sequence


def typed(module: str, words: Sequence[str]) -> None:
    """Run a command of `pipelines` or `gato_model` in a process of its own, quietly. Exits if it fails."""
    command = [sys.executable, "-m", module, *words, "--quiet"]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(f"exit code {code} of: {' '.join(command)}")

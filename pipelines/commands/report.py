"""The command `report`."""

import argparse
import sys

from gato_tokenize import Dataset
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.view import printable_lines
from pipelines.inspection.report_page import render

EXIT_FAILED, EXIT_REFUSED = 1, 2


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 written, 1 damaged or not written, 2 refused."""
    try:
        dataset = Dataset.open(arguments.dataset)
        if arguments.out.resolve().is_relative_to(arguments.dataset.resolve()):
            raise ValueError(f"--out {arguments.out} lies in the dataset, where `verify` would call it a fault")
    except (FileNotFoundError, ValueError) as error:
        return _stop(EXIT_REFUSED, str(error))
    try:
        with durable_file(arguments.out) as file:
            file.writelines(part.encode() for part in render(dataset, arguments.episodes, arguments.steps))
    except ModuleNotFoundError as error:
        return _stop(EXIT_REFUSED, f"{error}: pip install 'gato-toolchain[report]'")
    except ValueError as error:
        return _stop(EXIT_FAILED, f"{error}; `gato-data verify` lists all that is damaged")
    except OSError as error:
        return _stop(EXIT_FAILED, f"no report: {error}")
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")
    return 0


def _stop(code: int, message: str) -> int:
    print(f"gato-data: {printable_lines(message)}", file=sys.stderr)
    return code

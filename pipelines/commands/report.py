"""The command `report`."""

import argparse

from gato_tokenize import Dataset
from gato_tokenize.installing import missing
from gato_tokenize.output import EXIT_FAILED, Output
from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.store_path import StorePath
from pipelines.inspection.report_page import render


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0 written, 1 damaged or not written, 2 refused."""
    try:
        dataset = Dataset.open(arguments.dataset)
        folder = dataset.path
        if not isinstance(folder, StorePath) and arguments.out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"--out {arguments.out} lies in the dataset, where `verify` would call it a fault")
    except (OSError, ValueError) as error:
        return output.error(error)
    try:
        with durable_file(arguments.out) as file:
            file.writelines(part.encode() for part in render(dataset, arguments.episodes, arguments.steps))
    except ModuleNotFoundError as error:
        return output.error(missing("report", error, "report"))
    except ValueError as error:
        return output.error(f"{error}; `gato-data verify` lists all that is damaged", EXIT_FAILED)
    except OSError as error:
        return output.error(f"no report: {error}", EXIT_FAILED)
    size = arguments.out.stat().st_size
    return output.result(f"{arguments.out}: {size:,} bytes", {"report": arguments.out, "bytes": size})

"""The command `verify`."""

import argparse
import dataclasses

from gato_tokenize.output import EXIT_FAILED, Output, counted, printable
from pipelines.inspection.verify import verify


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0 sound, 1 damaged, 2 no dataset, or one that cannot be read."""
    try:
        faults = list(verify(arguments.dataset, deep=arguments.deep))
    except FileNotFoundError as error:
        return output.error(error)
    except OSError as error:  # a disk or a store that cannot be read says nothing of the dataset
        return output.error(f"nothing is known of the dataset: {error}")
    last = f"{arguments.dataset}: " + (counted(len(faults), "fault") if faults else "sound")
    document = {
        "dataset": arguments.dataset,
        "sound": not faults,
        "faults": [dataclasses.asdict(fault) for fault in faults],
    }
    return output.result("\n".join([*map(printable, faults), last]), document, EXIT_FAILED if faults else 0)

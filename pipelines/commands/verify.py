"""The command `verify`."""

import argparse
import dataclasses
import json
import sys

from gato_tokenize.view import counted, printable, printable_lines
from pipelines.inspection.verify import verify

EXIT_DAMAGED, EXIT_NO_DATASET = 1, 2


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 sound, 1 damaged, 2 no dataset."""
    try:
        faults = list(verify(arguments.dataset, deep=arguments.deep))
    except FileNotFoundError as error:
        print(f"gato-data: {printable_lines(error)}", file=sys.stderr)
        return EXIT_NO_DATASET
    if arguments.json:
        print(json.dumps({"dataset": str(arguments.dataset), "sound": not faults,
                          "faults": [dataclasses.asdict(fault) for fault in faults]}, indent=1))  # fmt: skip
    else:
        for fault in faults:
            print(printable(fault))
        print(f"{arguments.dataset}: " + (counted(len(faults), "fault") if faults else "sound"))
    return EXIT_DAMAGED if faults else 0

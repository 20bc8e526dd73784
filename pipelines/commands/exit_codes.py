"""Exit codes of the commands that write a dataset."""

import sys
from collections.abc import Callable

from gato_tokenize.view import printable_lines
from pipelines.conversion.plan import PlanError
from pipelines.conversion.publish import PublishError
from pipelines.conversion.reject_budget import RejectBudgetError
from pipelines.conversion.work_folder import ConvertError
from pipelines.running.failure import Failed, WorkerDiedError, io_error
from pipelines.sources.source import SourceError

EXIT_FAILED, EXIT_REFUSED, EXIT_REJECTS = 1, 2, 3


def exit_code(command: Callable[[], None]) -> int:
    """Run a command that writes a dataset; returns 0 done, 1 failed on the way, 2 refused, 3 too many rejects."""
    try:
        command()
    except RejectBudgetError as error:
        return _report(error, EXIT_REJECTS)
    except (ConvertError, PlanError, PublishError, SourceError, ValueError, FileNotFoundError) as error:
        return _report(error, EXIT_REFUSED)
    except WorkerDiedError as error:
        return _report(f"{error}. What is done is kept: the same command goes on from there", EXIT_FAILED)
    except (OSError, RuntimeError) as error:
        reason = error.io_error if isinstance(error, Failed) else str(error) if isinstance(error, OSError) else None
        reason = reason or io_error(error)
        if reason is None:
            raise  # the machine is not at fault: show where it came from
        return _report(f"{reason}. What is done is kept: mend it and give the same command again", EXIT_FAILED)
    return 0


def _report(message: object, code: int) -> int:
    print(f"gato-data: {printable_lines(message)}", file=sys.stderr)
    return code

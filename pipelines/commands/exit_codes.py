"""Exit codes of the commands that write a dataset."""

from collections.abc import Callable

from gato_tokenize.output import EXIT_FAILED, EXIT_REFUSED, Output
from pipelines.conversion.plan import PlanError
from pipelines.conversion.publish import PublishError
from pipelines.conversion.reject_budget import RejectBudgetError
from pipelines.conversion.work_folder import ConvertError
from pipelines.running.failure import Failed, WorkerDiedError, io_error
from pipelines.sources.errors import SourceError

EXIT_REJECTS = 3


def exit_code(command: Callable[[], int], output: Output) -> int:
    """Run a command that writes a dataset; returns 0 done, 1 failed on the way, 2 refused, 3 too many rejects."""
    try:
        return command()
    except RejectBudgetError as error:
        return output.error(error, EXIT_REJECTS)
    except (ConvertError, PlanError, PublishError, SourceError, ValueError, FileNotFoundError) as error:
        return output.error(error, EXIT_REFUSED)
    except WorkerDiedError as error:
        return output.error(f"{error}. What is done is kept: the same command goes on from there", EXIT_FAILED)
    except (OSError, RuntimeError) as error:
        reason = error.io_error if isinstance(error, Failed) else str(error) if isinstance(error, OSError) else None
        reason = reason or io_error(error)
        if reason is None:
            raise  # the machine is not at fault: show where it came from
        return output.error(f"{reason}. What is done is kept: mend it and give the same command again", EXIT_FAILED)

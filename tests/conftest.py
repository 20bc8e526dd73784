"""Settings of all tests."""

import contextlib
import faulthandler
import importlib
import os
import signal
from pathlib import Path

import hypothesis
import pytest

collect_ignore = ["helpers"]  # imported by tests, and by the processes that these start; no tests themselves

# Files and folders whose tests are marked `whole`, so that `make check` leaves them out: they start processes, convert
# with several workers, train or compile a model, render in a browser, or take long.
WHOLE = (
    "gato_model/acting",
    "gato_model/commands",
    "gato_model/evaluation",
    "gato_model/network/test_model.py",
    "gato_model/network/test_transformer.py",
    "gato_model/training/test_run.py",
    "pipelines/commands",
    "pipelines/conversion/test_bad_episodes.py",
    "pipelines/conversion/test_convert.py",
    "pipelines/conversion/test_resuming.py",
    "pipelines/conversion/test_write_partition_edges.py",
    "pipelines/editing",
    "pipelines/inspection/test_report_in_a_browser.py",
    "pipelines/inspection/test_report_page.py",
    "pipelines/inspection/test_verify.py",
    "pipelines/processes",
    "pipelines/running",
    "pipelines/sources/lerobot/test_damage.py",
    "pipelines/sources/rlds/test_oracle.py",
    "pipelines/sources/rollouts",
    "pipelines/sources/test_resuming.py",
    "pipelines/test_beam_steps.py",
    "whole/test_acting_docs.py",
    "whole/test_bounds.py",
    "whole/test_config_files.py",
    "whole/test_disks.py",
    "whole/test_faults.py",
    "whole/test_fuzz.py",
    "whole/test_notebook.py",
    "whole/test_other_vocabulary.py",
    "whole/test_output.py",
    "whole/test_packages.py",
    "whole/test_reading_from_stores.py",
    "whole/test_runners.py",
    "whole/test_security.py",
    "whole/test_shell_blocks.py",
    "whole/test_site.py",
    "whole/test_truncation.py",
    "whole/test_two_ways_in.py",
    "whole/test_typed_docs.py",
    "whole/test_wheel.py",
    "whole/test_writing_to_stores.py",
)

hypothesis.settings.register_profile("project", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("project")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a background job this way; the processes that tests start would inherit it and ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Readline, which pytest imports, sets it behind Python's back: processes that tests start would fold their tables.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

# Beam asks IPython, where it is installed, whether it runs in a cell. Loaded here it need not be loaded anew in the
# fork of each conversion, where it took a third of the time.
with contextlib.suppress(ImportError):
    importlib.import_module("IPython")

# Many tests crash a forked process on purpose. It would inherit pytest's fault handler and dump its stack into a
# passing run; a crash of the test process itself is still reported.
os.register_at_fork(after_in_child=faulthandler.disable)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/cluster, which brings engines of its own, unless it is asked for: `make cluster-test` does."""
    folder = Path(__file__).parent / "cluster"
    asked = any((config.invocation_params.dir / word.split("::")[0]).is_relative_to(folder) for word in config.args)
    return True if collection_path == folder and not asked else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    whole = [folder / name for name in WHOLE]
    missing = [path for path in whole if not path.exists()]
    if missing:
        raise pytest.UsageError(f"WHOLE in {__file__} names files that do not exist: {missing}")
    files = {path for path in {item.path for item in items} if any(path.is_relative_to(one) for one in whole)}
    for item in items:
        if item.path in files:
            item.add_marker("whole")

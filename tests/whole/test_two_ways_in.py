"""The installed scripts do what `python -m` does, also with a module of the current folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from conversions import tree

MODULE = """
import gymnasium
import numpy as np


class Mine(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        if self.time == 2 and action:
            raise MyError("it broke")
        return np.full(2, self.time / 10, np.float32), 1.0, self.time == 3, False, {}


class MyError(Exception):
    pass


gymnasium.register("My/Env-v0", Mine)
"""
PROBE = "def run(*arguments): print('found'); return 0\n"
ADD_PROBE = "command.COMMANDS['show'] = command.Command('', lambda parser: parser.add_output(''), 'probe')"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def script(package: str, before: str = "") -> list[str]:
    """Return the command that runs what pip installs as a script: its own folder is the first of `sys.path`."""
    path = Path(f"../{package}-script")
    path.write_text(f"import sys\nimport {package}.__main__ as command\n{before}\nsys.exit(command.main())\n")
    return [sys.executable, str(path)]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_environment_of_a_module_in_the_current_folder(workers: str) -> None:
    pytest.importorskip("gymnasium")
    Path("mymodule.py").write_text(MODULE)
    source = "rollouts:mymodule:My/Env-v0?policy=random&episodes=30"
    words = ["convert", source, "--max-rejects", "100%", "--workers", workers, "--out"]
    for way, start in (("script", script("pipelines")), ("module", [sys.executable, "-m", "pipelines"])):
        done = run([*start, *words, f"{way}/toy/1.0.0"])
        assert done.returncode == 0, done.stderr
    files = tree("script")
    assert files == tree("module") and any("rejects" in name for name in files)


@pytest.mark.parametrize("package", ["pipelines", "gato_model"])
def test_a_module_of_the_current_folder_is_found_and_hides_none(package: str) -> None:
    Path("probe.py").write_text(PROBE)
    Path("numpy.py").write_text("raise ImportError('the wrong numpy')")
    done = run([*script(package, ADD_PROBE), "show"])
    assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr
    done = run([*script(package, "command.find_modules_here(); import numpy"), "--help"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["pipelines", "gato_model"])
def test_python_s_safe_path_is_respected(package: str) -> None:
    Path("probe.py").write_text(PROBE)
    python, path = script(package, ADD_PROBE)
    safe = [python, "-P", "-c", f"import sys; sys.path.append({str(ROOT)!r}); exec(open({path!r}).read())"]
    done = run([*safe, "show"])
    assert done.returncode == 2 and "needs the package probe" in done.stderr

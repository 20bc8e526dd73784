"""Install the wheel of a folder into an empty environment, from the package index, and use it: `make dist` runs this.

    python -m scripts.check_dist dist

The README's first Python block runs, and a text is converted and verified. The exit code is 1 if anything fails.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def check(wheel: Path, folder: Path) -> None:
    """Install and use `wheel` in the empty folder `folder`; CalledProcessError if a command fails."""

    def run(*words: str | Path) -> None:
        print("$", *words, flush=True)
        subprocess.run(words, cwd=folder, check=True)

    venv.create(folder / "environment", with_pip=True)
    scripts = folder / "environment" / "bin"
    run(scripts / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    (folder / "readme.py").write_text(re.findall(r"```python\n(.*?)```", README.read_text(), re.S)[0])
    run(scripts / "python", "readme.py")
    run(scripts / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "gato-toolchain[beam]")
    (folder / "line.txt").write_text("Go to the red ball.\n")
    run(scripts / "gato-data", "convert", "text:line.txt", "--out", "data/toy/1.0.0")
    run(scripts / "gato-data", "verify", "--deep", "data/toy/1.0.0")


def main(dist: Path) -> int:
    """Check the only wheel in `dist`."""
    (wheel,) = dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(wheel, Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"{wheel.name} does not work: {error}", file=sys.stderr)
            return 1
    print(f"{wheel.name} works in an empty environment")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))

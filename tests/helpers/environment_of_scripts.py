"""A virtual environment with the scripts of `setup.cfg`, which run the checkout."""

import configparser
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_environment(folder: Path) -> Path:
    """Make the environment as pip would leave it, `-e .` installed; return the folder of its scripts."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "checkout.pth").write_text("".join(f"{path}\n" for path in paths))
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    for line in settings["options.entry_points"]["console_scripts"].strip().splitlines():
        name, module = line.split(":")[0].split(" = ")
        script = folder / "bin" / name
        script.write_text(f"#!{folder}/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    return folder / "bin"

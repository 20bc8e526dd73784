"""Draw docs/report.png: a part of the demo dataset's report in Chromium, with the pointer on a token.

    make demo
    python scripts/report_screenshot.py demo-data/gato_demo/1.0.0

Needs the extra `dev` and a chromium on the PATH (Debian: apt-get install chromium).
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from pipelines.__main__ import main as gato_data

OUT = Path(__file__).parent.parent / "docs" / "report.png"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SIZE = {"width": 1280, "height": 710}
TOKEN = ".step:nth-child(3) i.t[data-k='1'] >> nth=13"  # a patch of timestep 2


def main(dataset: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder, "report.html")
        if code := gato_data(["report", str(dataset), "--out", str(page), "--episodes", "1"]):
            sys.exit(code)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tab = browser.new_page(viewport=SIZE, color_scheme="light")
        tab.goto(page.as_uri())
        tab.locator("nav .names a").first.click()  # unfolds the task
        tab.locator("#task-1 .episode").first.evaluate("episode => episode.scrollIntoView()")
        tab.locator(f"#task-1 {TOKEN}").hover()
        tab.screenshot(path=OUT)
        browser.close()
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

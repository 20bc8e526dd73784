"""The report in a real browser: it requests nothing, logs nothing, and is walked, searched and played by hand."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversions import convert, png, write_lines

from gato_tokenize import Kind
from pipelines.__main__ import main
from pipelines.inspection.report_page import SEARCH_FROM

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
LONG_NAME = "a_task_with_a_name_of_one_word_that_is_longer_than_a_phone_is_wide"


def report(folder: Path, *sources: str) -> Path:
    """The report of a dataset made of these sources, in this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("pair.png").write_bytes(png(1))
        Path("pairs.jsonl").write_text(json.dumps({"image": "pair.png", "caption": "noise"}) + "\n")
        for number in range(SEARCH_FROM):
            write_lines(f"{number}.jsonl.gz", [json.dumps({"text": f"a short document {number}"})])
        assert convert(*sources) == 0
        assert main(["report", "out/toy/1.0.0"]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of every kind of token."""
    lander = "rollouts:LunarLander-v3?continuous=true&episodes=2"
    return report(
        tmp_path_factory.mktemp("few"),
        "text:0.jsonl.gz",
        "rollouts:BabyAI-GoToLocal-v0?episodes=2&image=rgb",
        lander,
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of so many tasks that they are folded, and can be searched."""
    names = [f"prose {number}" for number in range(SEARCH_FROM - 2)] + [LONG_NAME]
    texts = [f"text:{number}.jsonl.gz?task={name}" for number, name in enumerate(names)]
    return report(tmp_path_factory.mktemp("many"), *texts, "image-text:pairs.jsonl")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on this machine: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Tabs:
    """Opens pages; `said` and `asked` are what they logged and requested."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.said: list[str] = []
        self.asked: list[str] = []

    def open(self, path: Path, **options: Any) -> Any:
        tab = self.browser.new_page(**{"viewport": WIDE, **options})
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.on("console", lambda message: self.said.append(message.text))
        tab.on("pageerror", lambda error: self.said.append(str(error)))
        tab.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        tab.goto(path.as_uri())
        return tab


@pytest.fixture
def tabs(browser: Any) -> Iterator[Tabs]:
    """Every test of a page ends with this: it logged nothing and loaded nothing but itself."""
    tabs = Tabs(browser)
    yield tabs
    for context in browser.contexts:
        context.close()
    assert tabs.said == []
    assert {url.partition("#")[0].rpartition("/")[2] for url in tabs.asked if not url.startswith("data:")} == {
        "report.html"
    }


def current(tab: Any) -> list[str]:
    return tab.locator("nav a[aria-current]").all_text_contents()


def seen(tab: Any, selector: str) -> list[str]:
    return [element.text_content() for element in tab.locator(selector).all() if element.is_visible()]


def test_tokens_describe_themselves(few: Path, tabs: Tabs) -> None:
    tab = tabs.open(few, color_scheme="dark")
    sizes = tab.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert sizes and all(sizes)
    for kind in Kind:
        token = tab.locator(f"i.t[data-k='{kind.value}']").first
        token.scroll_into_view_if_needed()
        token.hover()
        panel = tab.locator("#panel")
        panel.wait_for(state="visible")
        described = {name: panel.locator(f".{name}").text_content() for name in ("id", "kind", "position", "value")}
        wanted = [token.get_attribute(f"data-{name}") for name in "ipv"]
        assert [described["id"], described["position"], described["value"]] == wanted
        assert described["kind"] == kind.name.lower().replace("_", " ")
        at, beside = token.bounding_box(), panel.bounding_box()
        assert min(abs(beside["y"] - at["y"] - at["height"]), abs(beside["y"] + beside["height"] - at["y"])) < 10
    token = tab.locator("i.t[data-v^='row 2, column 1']").first  # of the 4x4 patches of a BabyAI picture
    token.hover()
    frame = token.locator("xpath=ancestor::*[@class='run']").locator(".frame")
    picture, marked = (frame.locator(part).bounding_box() for part in ("img", "b"))
    place = [(marked[a] - picture[a]) / picture[size] for a, size in (("x", "width"), ("y", "height"))]
    assert place == pytest.approx([1 / 4, 2 / 4], abs=0.02)
    tab.mouse.move(1, 1)
    panel.wait_for(state="hidden")
    tab.locator(".strip").first.focus()
    tab.keyboard.press("ArrowRight")
    panel.wait_for(state="visible")
    assert panel.locator(".id").text_content() == tab.locator("i.t[data-i]").first.get_attribute("data-i")


@pytest.mark.parametrize(("window", "beside"), [(WIDE, True), (PHONE, False)], ids=["wide", "phone"])
def test_the_contents_stay_in_sight_and_show_where_one_is(
    few: Path, tabs: Tabs, window: dict[str, int], beside: bool
) -> None:
    tab = tabs.open(few, viewport=window)
    assert current(tab) == ["Overview"]
    for name in ("Notes", "Origin", "Tasks", "Rejects"):
        tab.get_by_role("link", name=name, exact=True).click()
        tab.wait_for_function("name => document.querySelector('nav a[aria-current]')?.textContent === name", arg=name)
        assert len(current(tab)) == 1
    box = tab.locator("nav").bounding_box()
    assert box["y"] == 0 and (box["height"] == window["height"] if beside else box["height"] < 60)
    assert (seen(tab, "nav .names a") != []) == beside
    assert tab.locator("nav a.around").count() == 0
    tab.evaluate("document.querySelector('#task-2').scrollIntoView()")
    tab.wait_for_function("() => document.querySelector('nav .names a[aria-current]')")
    assert current(tab) == ["LunarLander-v3/continuous=true"]
    assert tab.locator("nav a.around").text_content() == "Tasks"


@pytest.mark.parametrize("name", ["few", "many"])
def test_nothing_is_wider_than_a_phone(name: str, request: pytest.FixtureRequest, tabs: Tabs) -> None:
    tab = tabs.open(request.getfixturevalue(name), viewport=PHONE)
    for task in tab.locator("details.task").all():
        task.evaluate("task => task.open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    beyond = """[...document.querySelectorAll("main *")].filter(element =>
        element.getBoundingClientRect().right > innerWidth && !element.closest(".table, .strip"))
        .map(element => element.outerHTML.slice(0, 80))"""
    assert tab.evaluate(beyond) == []


def test_many_tasks_are_folded(few: Path, many: Path, tabs: Tabs) -> None:
    opened = tabs.open(few).locator("details.task").evaluate_all("all => all.map(task => task.open)")
    assert opened and all(opened)
    tab = tabs.open(many)
    folded = "all => all.filter(task => !task.open).length"
    tasks = tab.locator("details.task")
    assert tasks.evaluate_all(folded) == SEARCH_FROM
    tab.locator("nav .names").get_by_text("prose 3", exact=True).click()  # a link unfolds its task
    tab.wait_for_function("() => document.querySelectorAll('details.task[open]').length === 1")
    assert tab.locator("details.task[open] h2").text_content() == "prose 3"
    tab.get_by_role("button", name="Unfold all").click()
    assert tasks.evaluate_all(folded) == 0
    tab.get_by_role("button", name="Fold all", exact=True).click()
    assert tasks.evaluate_all(folded) == SEARCH_FROM


def test_the_search_leaves_the_tasks_whose_names_have_the_words(few: Path, many: Path, tabs: Tabs) -> None:
    assert tabs.open(few).get_by_role("searchbox").count() == 0
    tab = tabs.open(many)
    everywhere = ("nav .names a", "#tasks tbody th", "details.task h2")
    assert all(len(seen(tab, where)) == SEARCH_FROM for where in everywhere)
    tab.keyboard.press("/")
    tab.keyboard.type("PROSE 3")
    assert [seen(tab, where) for where in everywhere] == [["prose 3"]] * 3
    assert tab.get_by_role("status").first.text_content() == f"1 of {SEARCH_FROM} tasks shown"
    tab.keyboard.press("Enter")
    assert tab.locator("details.task[open] h2").all_text_contents() == ["prose 3"]
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    tab.get_by_role("searchbox").fill("no such task")
    assert [seen(tab, where) for where in everywhere] == [[]] * 3
    assert tab.get_by_role("status").first.text_content() == f"0 of {SEARCH_FROM} tasks shown"
    tab.get_by_role("searchbox").press("Escape")
    assert all(len(seen(tab, where)) == SEARCH_FROM for where in everywhere)


def test_without_scripts_everything_is_there(many: Path, tabs: Tabs) -> None:
    tab = tabs.open(many, java_script_enabled=False)
    assert seen(tab, "input, button") == []
    assert len(seen(tab, "#tasks tbody th")) == len(seen(tab, "details.task h2")) == SEARCH_FROM
    tab.locator("summary", has_text="prose 3").click()
    assert tab.locator("details.task", has_text="prose 3").locator(".strip").first.is_visible()
    tab.locator("nav .names").get_by_text("prose 5", exact=True).click()
    assert tab.locator("details.task", has_text="prose 5").locator(".strip").first.is_visible()


def test_print_is_light_and_without_what_one_presses(many: Path, tabs: Tabs) -> None:
    tab = tabs.open(many, color_scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert seen(tab, "nav, input, button") == []
    red, green, blue = map(
        int, tab.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")
    )
    assert min(red, green, blue) > 240


def line(plot: Any, name: str) -> float | None:
    """Where the line of this name stands in a chart, in percent of its axis; None: it is hidden."""
    return plot.locator(f"b.{name}").evaluate(
        "line => getComputedStyle(line).display === 'none' ? null : Number(line.style.getPropertyValue('--x'))"
    )


def test_a_chart_says_its_values(few: Path, tabs: Tabs) -> None:
    tab = tabs.open(few)
    plot = tab.locator("figure", has_text="observation: values").locator(".plot").first
    marks = json.loads(plot.get_attribute("data-marks"))[:9]  # neighbours: 64 columns share the axis
    plot.scroll_into_view_if_needed()
    box, axis = plot.bounding_box(), plot.locator("svg").bounding_box()
    for x, text in marks:  # the pointer stands where the SVG draws the column
        place = box["x"] + axis["width"] * (0.14 + 0.81 * x / 100)
        tab.mouse.move(place, box["y"] + box["height"] / 2)
        assert tab.locator("#panel").inner_text() == text and line(plot, "at") == x
        assert plot.locator(".at").bounding_box()["x"] == pytest.approx(place, abs=2)
    tab.mouse.move(1, 1)
    assert not tab.locator("#panel").is_visible() and line(plot, "at") is None
    plot.focus()
    for _, text in marks:
        tab.keyboard.press("ArrowRight")
        assert tab.locator("#panel").inner_text() == text
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#panel").inner_text() == marks[-2][1]
    tab.keyboard.press("Escape")
    assert not tab.locator("#panel").is_visible()
    assert all(tab.locator(".plot").evaluate_all("all => all.map(plot => plot.ariaLabel)"))


def test_a_filmstrip_plays_to_its_end_beside_its_curves(few: Path, tabs: Tabs) -> None:
    tab = tabs.open(few)
    episode = tab.locator("#task-2 .episode").first
    assert episode.locator("figcaption").evaluate_all("all => all.map(c => c.firstChild.data.trim())") == [
        "observation",
        "action",
        "reward",
    ]
    plot, steps = episode.locator(".plot").first, episode.locator(".step")
    count = int(plot.get_attribute("data-steps"))
    assert line(plot, "now") is None
    button = episode.get_by_role("button", name="Play")
    button.focus()
    tab.keyboard.press("Enter")
    assert button.count() == 0 and episode.get_by_role("button", name="Pause").is_visible()
    tab.wait_for_function("() => document.querySelector('#task-2 .episode .step:nth-child(3).now')")
    assert line(plot, "now") == pytest.approx(2.5 / count * 100)
    tab.keyboard.press("Enter")
    stopped = line(plot, "now")
    tab.wait_for_timeout(700)
    assert line(plot, "now") == stopped and button.is_visible()
    button.click()
    button.wait_for()  # it ends by itself
    assert "now" in steps.last.get_attribute("class") and line(plot, "now") == pytest.approx(7.5 / count * 100)
    assert steps.last.bounding_box()["x"] < WIDE["width"]
    steps.nth(4).locator("i.t").first.hover()  # what is pointed at is at the playhead, too
    assert line(plot, "now") == pytest.approx(4.5 / count * 100)


def test_who_wants_no_motion_goes_step_by_step(few: Path, tabs: Tabs) -> None:
    tab = tabs.open(few, reduced_motion="reduce")
    episode = tab.locator("#task-2 .episode").first
    for number in range(2):
        episode.get_by_role("button", name="Next timestep").click()
        tab.wait_for_timeout(700)
        classes = episode.locator(".step").evaluate_all("all => all.map(step => step.classList.contains('now'))")
        assert classes.index(True) == number and sum(classes) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_told_apart(few: Path, tabs: Tabs, scheme: str) -> None:
    """WCAG 2.2 AA: text has 4.5 times the luminance of what is behind it, or a fraction of that; marks 3 times."""
    tab = tabs.open(few, color_scheme=scheme)

    def luminance(name: str) -> float:
        code = tab.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')").strip("# ")
        code = "".join(2 * digit for digit in code) if len(code) == 3 else code
        parts = [int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    marks = [kind.name.lower().replace("_", "-") for kind in Kind] + [f"curve-{n}" for n in range(6)]
    for least, names in ((4.5, ["ink", "soft", "accent"]), (3, ["edge", "red", "green", "blue", *marks])):
        for name in names:
            for behind in ("page", "card"):
                low, high = sorted((luminance(name), luminance(behind)))
                assert (high + 0.05) / (low + 0.05) >= least, (name, behind)


def test_the_page_is_small(many: Path) -> None:
    assert many.stat().st_size < 50_000 + SEARCH_FROM * 15_000

"""The report: its numbers, pictures and tokens are the dataset's; it loads nothing and runs no foreign script."""

import base64
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, png, write_lines
from PIL import Image

from gato_tokenize import (
    ContinuousSpec,
    Dataset,
    DiscreteSpec,
    Episode,
    EpisodeMetadata,
    EpisodeSpec,
    ImageSpec,
    Kind,
    Record,
    TextSpec,
    TextTokenizer,
)
from gato_tokenize.installing import how_to_install
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.episode_list import COLUMNS
from gato_tokenize.storage.manifest import manifest_bytes
from pipelines.__main__ import main
from pipelines.inspection import charts
from pipelines.inspection import report_page as report
from pipelines.inspection.filmstrip import END, MOST_TOKENS, filmstrip, pieces
from pipelines.stats.episode_stats import plain_counts
from pipelines.stats.lints import LINTS

ROOT = Path(__file__).parents[3]
HOSTILE = "</script><script>alert(1)</script>\"'><img src=http://x.invalid/ onerror=alert(2)>{{ 7 * 7 }}"
LONG = "a long document " * 600


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.numbers: dict[str, str] = {}  # {data-of: text}
        self.words: list[str] = []
        self._of: str | None = None
        self._exact: str | None = None
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        element = {name: value or "" for name, value in attributes}
        self.elements.append((tag, element))
        if "data-of" in element:
            self._of, self._exact = element["data-of"], element.get("data-exact")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._of is not None:
            number = data if self._exact is None else self._exact
            assert self.numbers.setdefault(self._of, number) == number, f"{self._of} has two values"
            self._of = None

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def tokens(self) -> list[dict[str, str]]:
        return [token for token in self.all("i") if "data-i" in token]


def make(*words: str) -> Path:
    """The report of the dataset in this folder."""
    assert main(["report", "out/toy/1.0.0", *words]) == 0
    return Path(words[words.index("--out") + 1]) if "--out" in words else Path("report.html")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of every kind of token, with two splits, notes, rejects, and strings that look like HTML."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        texts = [{"id": f"{number}{HOSTILE}", "text": f"{number}: {HOSTILE} naïve 你好"} for number in range(12)]
        texts += [{"id": "long", "text": LONG}, {"id": HOSTILE, "text": 7}]
        write_lines("docs.jsonl.gz", [json.dumps(text) for text in texts])
        for number in range(6):
            Path(f"{number}.png").write_bytes(png(number))
        pairs = [{"image": f"{number}.png", "caption": f"{number} {HOSTILE}"} for number in range(6)]
        Path("pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        rollouts = "rollouts:BabyAI-GoToLocal-v0?episodes=8&image=rgb"
        lander = "rollouts:LunarLander-v3?continuous=true&episodes=2"
        sources = ("text:docs.jsonl.gz?id=id", "image-text:pairs.jsonl", rollouts, lander)
        assert convert(*sources, "--validation-fraction", "0.3", "--max-rejects", "1") == 0
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy to damage, as out/toy/1.0.0 of the current folder."""
    shutil.copytree(made / "out", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out/toy/1.0.0"


@pytest.fixture(scope="module")
def page(made: Path) -> Page:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        return Page(make("--out", "page.html"))


# ------------------------------------------------------------------------------------------------- a toy by hand


def toy() -> tuple[Dataset, Record, np.ndarray]:
    fields = {
        "camera": ImageSpec((32, 48, 3)),
        "order": TextSpec(),
        "proprio": ContinuousSpec(3),
        "way": DiscreteSpec(4),
    }
    spec = EpisodeSpec(fields, ContinuousSpec(2))
    camera = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    camera[0, 16:, 32:] = (10, 20, 30)  # the last patch
    observation = {"camera": camera, "order": ["go on"] * 3, "proprio": [[0, 1, -5]] * 3, "way": [3, 0, 1]}
    episode = Episode(spec, observation, [[0.25, -1]] * 3, EpisodeMetadata("a", task="toy", num_steps=3))
    tokenizer = DatasetTokenizer.for_specs({"toy": spec})
    return Dataset(Path(), {}, tokenizer), Record(tokenizer.task("toy").encode(episode), episode.metadata), camera


def test_a_filmstrip_by_hand() -> None:
    dataset, record, camera = toy()
    strip = filmstrip(dataset, record, 2)
    assert (len(strip.steps), strip.hidden) == (2, 1)
    runs = {run.path: run for run in strip.steps[0]}
    names = ["observation/camera", "observation/order", "observation/proprio", "observation/way", "separator", "action"]
    assert list(runs) == names
    patches = runs["observation/camera"].tokens
    assert [token.position for token in patches] == list("012345") and {token.id for token in patches} == {0}
    assert patches[5].value == "row 1, column 2, mean RGB 10 20 30" and not patches[5].loss
    words = runs["observation/order"].tokens
    assert "".join(token.text for token in words) == "go on" and all(token.loss for token in words)
    assert words[0].position == "6" and words[0].value == repr(words[0].text)
    assert [token.id for token in runs["observation/proprio"].tokens] == [32512, 32744, 32198]
    assert [round(float(token.value), 1) for token in runs["observation/proprio"].tokens] == [0.0, 1.0, -5.0]
    assert [token.level for token in runs["observation/proprio"].tokens] == [50, 73, 19]
    assert [(token.id, token.value) for token in runs["observation/way"].tokens] == [(3, "3")]
    assert [(token.id, token.position) for token in runs["separator"].tokens] == [(33024, "none")]
    assert [(t.position, t.value, t.loss) for t in runs["action"].tokens] == [
        ("action row", "0.250977", True),
        ("action row", "-0.999023", True),
    ]
    assert strip.steps and len(strip.steps) <= len(camera)
    for step, frame in zip(strip.steps, camera, strict=False):
        assert np.array_equal(pixels(step[0].picture or ""), frame)


def pixels(source: str) -> np.ndarray:
    start = "data:image/png;base64,"
    assert source.startswith(start)
    with Image.open(io.BytesIO(base64.b64decode(source.removeprefix(start)))) as image:
        return np.asarray(image)


def test_pieces_are_the_text() -> None:
    text = TextTokenizer()
    ids = text.encode("naïve \u2581 你好 🜁\n\tend")
    parts = pieces(text, ids)
    assert len(parts) == len(ids) and "".join(parts).replace("\ufffd", "") == text.decode(ids)
    assert pieces(text, ids[:0]) == []


def test_lengths_are_kept_to_three_digits() -> None:
    assert [report.three_digits(n) for n in (0, 7, 999, 1004, 123456)] == [0, 7, 999, 1000, 123000]


def test_charts_have_nothing_that_could_clash_or_load() -> None:
    walk = np.random.default_rng(0).normal(size=(400, 7)).cumsum(axis=0)
    drawn = [
        charts.lengths_chart({7: 2, 9: 1}, Kind.TEXT, "tokens"),
        charts.lengths_chart({22000: 3}, Kind.TEXT, "tokens"),
        charts.values_chart(np.array([0.5]), Kind.CONTINUOUS, "value"),
        charts.values_chart(np.array([-256.0, 0, 0, 256]), Kind.CONTINUOUS, "value"),
        charts.values_chart(np.array([0, 2**62]), Kind.DISCRETE, "value"),
        charts.bins_chart(np.arange(1024), Kind.CONTINUOUS_ACTION),
        charts.bins_chart(np.arange(7), Kind.CONTINUOUS_ACTION),
        charts.pixels_chart(np.ones((3, 256), np.int64)),
        charts.curves_chart(np.zeros((2, 1)), [""], 1),
        charts.curves_chart(walk[:, :6], list("012345"), 8),
    ]
    svgs = [*(chart.svg for chart in drawn), charts.shares_chart({"text": 4, "patch": 9})]
    for svg in svgs:
        assert svg.startswith("<svg ") and svg.endswith("</svg>")
        assert not re.search(r"\bid=|href|url\(|http|<style|<script|#0001|nan", svg)
    assert "var(--continuous-action)" in svgs[5] and "var(--text)" in svgs[-1] and "var(--patch)" in svgs[-1]
    assert charts.bins_chart(np.arange(1024), Kind.CONTINUOUS_ACTION) == drawn[5]


def test_the_heights_of_a_chart() -> None:
    """Two columns, the one twice as high as the other: 0, 4, 8 stand at the lines of the axis."""
    svg = charts.lengths_chart({1: 4, 2: 8}, Kind.TEXT, "tokens").svg
    outline = re.search(r'<path d="([^"]*)" style="fill: var\(--text\)"', svg)
    assert outline
    rows = [float(y) for _, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", outline[1])]
    low, middle, high = sorted(set(rows), reverse=True)
    assert low - high == pytest.approx(2 * (low - middle), abs=0.2)


def ticks(svg: str) -> list[str]:
    """The numbers below a chart: texts in the middle of their place, but for the axis' name."""
    return re.findall(r"text-anchor: middle[^>]*>([^<]*)</text>", svg)[:-1]


def test_an_axis_of_integers_has_a_tick_below_columns_alone() -> None:
    assert ticks(charts.values_chart(np.array([0, 1, 1, 0]), Kind.DISCRETE, "value").svg) == ["0", "1"]
    assert ticks(charts.values_chart(np.array([0, 5]), Kind.DISCRETE, "value").svg) == list("012345")
    for most in (7, 9, 20, 63, 64, 300, 5000):
        for svg in (
            charts.values_chart(np.arange(most), Kind.DISCRETE, "value").svg,
            charts.lengths_chart(dict.fromkeys(range(1, most), 1), Kind.TEXT, "tokens").svg,
        ):
            assert len(ticks(svg)) > 1 and not any(tick.startswith(("-", "\u2212")) for tick in ticks(svg))


def test_what_charts_say() -> None:
    assert charts.lengths_chart({1: 4, 3: 1}, Kind.TEXT, "tokens").marks == [
        (37.5, "tokens 1: 4 episodes"),
        (62.5, "tokens 3: 1 episode"),
    ]
    wide = charts.lengths_chart({0: 1, 1000: 1234}, Kind.TEXT, "tokens").marks
    assert [text for _, text in wide] == ["tokens 0 to 15: 1 episode", "tokens 992 to 1,007: 1,234 episodes"]
    values = charts.values_chart(np.array([-1.0, -1.0, 1.0]), Kind.CONTINUOUS, "value").marks
    assert [text for _, text in values] == ["value -1 to -0.9688: 2 times", "value 0.9688 to 1: 1 time"]
    bins = charts.bins_chart(np.eye(1, 1024, 8, dtype=np.int64)[0], Kind.CONTINUOUS).marks
    assert [text for _, text in bins] == ["bin 8 to 15: 1 time"]
    pixels = charts.pixels_chart(np.eye(3, 256, 4, dtype=np.int64)).marks
    assert [text for _, text in pixels][1] == "pixel value 4 to 7: red 1, green 1, blue 1" and len(pixels) == 64


def test_a_curve_by_hand() -> None:
    chart = charts.curves_chart(np.array([[0.0, 5], [1, 5], [2, 5], [4, 5]]), ["0", "1"], 2)
    assert chart.marks == [(12.5 + 25 * t, f"timestep {t}: 0 = {v}, 1 = 5") for t, v in enumerate((0, 1, 2, 4))]
    line = re.search(r'<path d="([^"]*)" style="fill: none; stroke: var\(--curve-0\)', chart.svg)
    assert line
    heights = [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", line[1])]
    rises = np.subtract(heights[:-1], heights[1:])
    assert rises / rises[0] == pytest.approx([1, 1, 2], abs=0.02)


def test_a_long_curve_keeps_its_extremes_and_stays_small() -> None:
    values = np.zeros((100_000, 6))
    values[54_321] = 7.5
    chart = charts.curves_chart(values, list("012345"), 8)
    peaks = [text for _, text in chart.marks if "7.5" in text]
    assert len(peaks) == 1 and "0 = 0 to 7.5" in peaks[0]
    first, last = (int(n.replace(",", "")) for n in re.findall(r"timestep ([\d,]+) to ([\d,]+):", peaks[0])[0])
    assert first <= 54_321 <= last
    noise = np.random.default_rng(0).normal(size=(100_000, 6))
    noisy = charts.curves_chart(noise, list("012345"), 8)
    assert len(noisy.svg) + sum(len(text) for _, text in noisy.marks) < 25_000


# ----------------------------------------------------------------------------------------------------- the page


def flat(value: object, path: tuple[str, ...] = ()) -> dict[str, object]:
    if isinstance(value, dict):
        return {key: leaf for name, child in value.items() for key, leaf in flat(child, (*path, name)).items()}
    return {"/".join(path): value}


def shown(value: object) -> float:
    return float(str(value).replace(",", ""))


def test_every_number_is_the_manifest_s_or_the_statistics(made: Path, page: Page) -> None:
    folder = made / "out/toy/1.0.0"
    manifest, stats = (json.loads((folder / name).read_text()) for name in ("manifest.json", "stats.json"))
    for counts in (counts for by_task in stats.values() for counts in by_task.values()):
        counts["fields"] = {path: plain_counts(field) for path, field in counts["fields"].items()}
    expected = flat(stats, ("stats",)) | flat(manifest["episodes"], ("episodes",))
    splits = manifest["splits"]
    for split, counts in splits.items():
        names = ("records", "steps", "tokens", "bytes")
        expected |= {f"splits/{split}/{name}": counts[name] for name in names}
        expected[f"splits/{split}/shards"] = len(counts["shards"])
    for name in ("records", "steps", "tokens", "bytes"):
        expected[f"total/{name}"] = sum(split[name] for split in splits.values())
    tasks = {task for by_task in stats.values() for task in by_task}
    episodes = Counter()
    for by_task in stats.values():
        episodes.update({task: counts["episodes"] for task, counts in by_task.items()})
    expected |= {f"lines/{task}": count for task, count in episodes.items()}
    expected |= {"tasks": len(tasks), "rejected": 1, "filtered": 0}
    left_out = {key for key in expected if key.endswith("/unknown_pieces")}
    assert set(page.numbers) == set(expected) - left_out
    for key, text in page.numbers.items():
        assert shown(text) == pytest.approx(expected[key], rel=1e-3), key
        if isinstance(expected[key], int):
            assert shown(text) == expected[key], key


def test_tokens_and_pictures_are_the_records(made: Path, page: Page) -> None:
    dataset = Dataset.open(made / "out/toy/1.0.0")
    sequences = {}
    for split in dataset.splits:
        for record in dataset.records(split):
            if record.metadata.segment_index == 0:
                sequences.setdefault(record.metadata.task, {})[record.metadata.episode_id] = record.sequence
    strips = [strip for strip in page.all("div") if strip.get("class") == "strip"]
    names = [strip["aria-label"].removeprefix("tokens of ") for strip in strips]
    assert len(names) == sum(min(2, len(found)) for found in sequences.values()) == 8
    by_name = {name: sequence for found in sequences.values() for name, sequence in found.items()}
    expected_ids, expected_kinds, frames = [], [], 0
    for name in names:
        sequence = by_name[name].steps(0, min(8, by_name[name].num_steps))
        most = MOST_TOKENS if (sequence.kinds == Kind.TEXT).all() else len(sequence)
        expected_ids += sequence.ids[:most].tolist()
        expected_kinds += sequence.kinds[:most].tolist()
        frames += len(sequence.grids)
    assert [int(token["data-i"]) for token in page.tokens] == expected_ids
    assert [int(token["data-k"]) for token in page.tokens] == expected_kinds
    assert set(expected_kinds) == set(Kind)
    pictures = [pixels(image["src"]) for image in page.all("img")]
    assert len(pictures) == frames
    noise = [np.asarray(Image.open(made / f"{number}.png")) for number in range(6)]
    found = [any(np.array_equal(picture, image) for image in noise) for picture in pictures]
    assert found.count(True) == 2  # one picture of each of the two captions, whole


def test_it_loads_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "video", "audio"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
                assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
            if name == "style":
                assert "url(" not in value
    style = re.findall(r"<style>(.*?)</style>", page.text, re.S)
    assert len(style) == 1 and not re.search(r"url\(|@import|http", style[0])
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.S)
    assert len(scripts) == len(page.all("script")) == 1
    assert not re.search(r"fetch|XMLHttp|import|http|eval|innerHTML", scripts[0])
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_hostile_strings_are_only_text(page: Page) -> None:
    words, titles = "".join(page.words), [div["aria-label"] for div in page.all("div") if div.get("class") == "strip"]
    assert sum(title.endswith(HOSTILE) for title in titles) == 2  # of two documents: whole, in an attribute and as text
    assert all(title.removeprefix("tokens of ") in words for title in titles)
    assert HOSTILE not in page.text and len(page.all("script")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [link["href"] for link in page.all("a")]
    assert links and all(link.startswith("#") and link[1:] in ids for link in links)


def test_rejects_and_notes(made: Path, page: Page) -> None:
    words = "".join(page.words)
    reject = json.loads(next((made / "out/toy/1.0.0/rejects").glob("*")).read_text())
    assert reject["message"] in words and reject["source_uri"] in words
    assert page.numbers["stats/train/LunarLander-v3/continuous=true/notes/final observation left out"]


def test_the_fit_of_every_element(made: Path, page: Page) -> None:
    dataset = Dataset.open(made / "out/toy/1.0.0")
    stats = json.loads((dataset.path / "stats.json").read_text())
    task = "LunarLander-v3/continuous=true"
    rows = [re.sub(r"<[^>]*>", "|", row) for row in re.findall(r'<tr class="fit">(.*?)</tr>', page.text, re.S)]
    rows = [[word for word in row.split("|") if word] for row in rows]
    splits = [split for split in stats if task in stats[split]]
    assert splits
    assert sum(row[2] == "all" for row in rows) == 2 * len(splits)
    for split in splits:
        columns = stats[split][task]["fields"]["observation"]["dimensions"]
        for i in range(8):
            found = [row for row in rows if row[:3] == ["observation", split, str(i)]]
            assert found and all(row[3] == f"{columns['min'][i]:.4g} to {columns['max'][i]:.4g}" for row in found)
    assert "equal bins over the range" in page.text and page.text.count("<summary>each element") == 1


def test_lints_have_their_meaning(here: Path) -> None:
    stats = json.loads((here / "stats.json").read_text())
    next(iter(stats["train"].values()))["lints"] = {"empty texts": 1234}
    (here / "stats.json").write_text(json.dumps(stats))
    page = Page(make())
    assert LINTS["empty texts"] in page.words and "1,234" in page.words


def test_equal_inputs_are_said(here: Path, page: Page) -> None:
    manifest = json.loads((here / "manifest.json").read_text())
    given = next(given for given in manifest["inputs"] if "sha256" in given)
    manifest["inputs"].append({**given, "uri": "again"})
    (here / "manifest.json").write_bytes(manifest_bytes(manifest))
    said = "1 input has the content of another: again that of "
    assert said in " ".join(Page(make()).words) and "the content of another" not in " ".join(page.words)


def test_what_the_page_says_of_its_samples(page: Page) -> None:
    words = re.sub(r"\s+", " ", "".join(page.words))
    assert "rest: 8 of 8 records" in words and "chosen by a hash of their ids" in words
    assert page.numbers["lines/text"] == "13"


def test_lengths_are_of_episodes_not_of_records(tmp_path: Path) -> None:
    """Three records, two episodes: a in two segments of 10 and 5 tokens, b in one of 7."""
    rows = [("a", 0, 2, 10, 2), ("a", 1, 2, 5, 1), ("b", 0, 1, 7, 1)]
    names = ("episode_id", "segment_index", "num_segments", "tokens", "steps")
    lines = [
        dict.fromkeys(COLUMNS) | dict(zip(names, row, strict=True)) | {"task": "t", "shard": "s", "record": n}
        for n, row in enumerate(rows)
    ]
    (tmp_path / "episodes.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(x) + "\n" for x in lines).encode()))
    found = report.read_lines(Dataset(tmp_path, {}, toy()[0].tokenizer), 2)["t"]
    assert (found.records, found.tokens, found.steps) == (3, Counter({15: 1, 7: 1}), Counter({3: 1, 1: 1}))
    assert sorted(record for _, _, record in found.shown) == [0, 2]  # never from the middle of an episode
    assert sorted(record for _, _, record in found.counted) == [0, 1, 2]


def test_the_sample_is_what_the_records_hold(made: Path) -> None:
    dataset = Dataset.open(made / "out/toy/1.0.0")
    task = "LunarLander-v3/continuous=true"
    sample = report.count_sample(dataset, report.read_lines(dataset, 0)[task].counted)
    sequences = [r.sequence for split in dataset.splits for r in dataset.records(split) if r.metadata.task == task]
    for kind in (Kind.CONTINUOUS, Kind.CONTINUOUS_ACTION):
        ids = np.concatenate([sequence.ids[sequence.kinds == kind] for sequence in sequences])
        assert np.array_equal(sample.bins[kind], np.bincount(ids - 32000, minlength=1024))
    assert sum(map(len, sample.values["action"])) == sum(sequence.num_steps for sequence in sequences) * 2
    pictures = report.count_sample(dataset, report.read_lines(dataset, 0)["caption"].counted).pixels[
        "observation/image"
    ]
    expected = [np.bincount(np.asarray(Image.open(made / f"{n}.png"))[..., 1].ravel(), minlength=256) for n in range(6)]
    assert np.array_equal(pictures[1], sum(expected))


def test_what_later_statistics_add_is_shown(here: Path) -> None:
    stats = json.loads((here / "stats.json").read_text())
    task = next(iter(stats["train"].values()))
    task["lints"] = {"black images": {"observation/image": 1234}}
    stats["about"] = {"version": 2}  # no split: left alone
    (here / "stats.json").write_text(json.dumps(stats))
    page = Page(make())
    words = "".join(page.words)
    assert "lints" in words and "black images: observation/image" in words and "1,234" in words


def test_curves_are_the_records(made: Path, page: Page) -> None:
    """The marks beside each strip of the lander are what its record decodes to, and its rewards."""
    dataset = Dataset.open(made / "out/toy/1.0.0")
    records = [record for split in dataset.splits for record in dataset.records(split)]
    plots = [plot for plot in page.all("div") if "data-steps" in plot]
    strips = [strip["aria-label"] for strip in page.all("div") if strip.get("class") == "strip"]
    landers = [record for record in records if record.metadata.task.startswith("LunarLander")]
    landers.sort(key=lambda record: strips.index(f"tokens of {record.metadata.episode_id}"))
    wanted = []
    for record in landers:
        episode = dataset.tokenizer.task(record.metadata.task).decode(record.sequence)
        wanted += [episode.fields["observation"][:, :6], episode.fields["action"], record.rewards]
    found = [plot for plot in plots if int(plot["data-steps"]) > 50]
    assert len(found) == len(wanted) == 6
    for plot, values in zip(found, wanted, strict=True):
        said = [re.sub(r"\d = ", "", text.split(": ")[1]) for _, text in json.loads(plot["data-marks"])]
        numbers = [float(number) for text in said for number in re.split(", | to ", text)]
        assert (min(numbers), max(numbers)) == pytest.approx((values.min(), values.max()), rel=1e-3)


# -------------------------------------------------------------------------------------------------- the command


def test_the_page_is_written_task_by_task(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So memory does not grow with the number of tasks: a task is read when the one before it is written."""
    counted: list[int] = []
    whole = report.count_sample

    def counting(dataset: Dataset, places: list[object]) -> report.Sample:
        counted.append(1)
        return whole(dataset, places)

    monkeypatch.setattr(report, "count_sample", counting)
    begun = 0
    for part in report.render(Dataset.open(made / "out/toy/1.0.0"), 2, 8):
        begun += part.count('id="task-')
        assert len(counted) <= begun + 1
    assert begun == len(counted) == 4


def test_the_page_depends_on_the_dataset_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make().read_bytes()
    here.parent.parent.rename("elsewhere")
    assert main(["report", "elsewhere/toy/1.0.0", "--out", "b.html"]) == 0
    assert Path("b.html").read_bytes() == first
    assert f"report.html: {len(first):,} bytes" in capsys.readouterr().out


def test_options(here: Path) -> None:
    page = Page(make("--episodes", "1", "--steps", "2", "--out", "one.html"))
    strips = [div for div in page.all("div") if div.get("class") == "strip"]
    assert len(strips) == 4
    steps = [div for div in page.all("div") if div.get("class") == "step"]
    assert len(steps) <= 2 + 2 + 1 + 1 and re.search(r"and \d+ more<br>timesteps", page.text)
    none = Page(make("--episodes", "0"))
    assert not none.tokens and "from their tokens" not in "".join(none.words[none.words.index("Tasks") :])
    whole = Page(make("--episodes", "99", "--steps", "999"))
    assert len([div for div in whole.all("div") if div.get("class") == "strip"]) == 13 + 6 + 8 + 2
    assert "more<br>timesteps" not in whole.text
    assert re.search(r"and [\d,]+ more tokens", whole.text)  # of the long document


def test_limits_are_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "SAMPLE_RECORDS", 3)
    monkeypatch.setattr(report, "SAMPLE_TOKENS", 1)
    monkeypatch.setattr(report, "MOST_TASKS", 1)
    monkeypatch.setattr(report, "MOST_REJECTS", 0)
    monkeypatch.setattr(report, "MOST_ELEMENTS", 5)
    page = Page(make())
    words = re.sub(r"\s+", " ", "".join(page.words))
    assert "rest: 1 of 8 records" in words and "the first 1 of 4 tasks" in words
    assert "The first 0 are shown" in words
    lander = Page(make("--out", "more.html")).words  # the first task alone is shown
    assert "stats.json has the other elements" not in lander
    monkeypatch.setattr(report, "MOST_TASKS", 9)
    assert "stats.json has the other elements" in Page(make("--out", "all.html")).words


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 2, "is no complete dataset"),
        (["out/toy/1.0.0", "--out", "out/toy/1.0.0/report.html"], 2, "lies in the dataset"),
        (["out/toy/1.0.0", "--out", "no/such/folder.html"], 1, "no report"),
    ],
)
def test_it_refuses_with_a_message(
    here: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *words]) == code
    assert message in capsys.readouterr().err
    assert not list(Path().glob("**/*.html")) and not list(Path().glob("**/.*tmp*"))


@pytest.mark.parametrize("words", [["--steps", "-1"], ["--steps", "0"], ["--episodes", "few"]])
def test_it_refuses_what_is_no_count(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["report", "out/toy/1.0.0", *words])
    assert "expected" in capsys.readouterr().err


def test_a_damaged_record_leaves_no_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in here.glob("toy-*"):
        data = bytearray(shard.read_bytes())
        data[20:40] = bytes(20)
        shard.write_bytes(data)
    Path("report.html").write_text("an older page")
    assert main(["report", "out/toy/1.0.0", "--episodes", "9"]) == 1
    assert "gato-data verify" in capsys.readouterr().err
    assert Path("report.html").read_text() == "an older page"


def test_without_its_extra(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", "out/toy/1.0.0"]) == 2
    assert f"report needs the package jinja2: {how_to_install('report')} installs it" in capsys.readouterr().err


def test_what_its_import_brings_along() -> None:
    heavy = ["apache_beam", "tensorflow", "pyarrow", "gymnasium"]
    modules = "pipelines.inspection.report_page, pipelines.inspection.charts"
    code = f"import {modules}, sys; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_an_ended_document_says_so(page: Page) -> None:
    assert END in "".join(page.words)

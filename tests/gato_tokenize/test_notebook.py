"""What a notebook shows of an episode: the values, pictures as the model sees them, and nothing that a browser runs."""

import base64
import io
import re

import numpy as np
from PIL import Image

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, EpisodeMetadata, EpisodeSpec, ImageSpec, TextSpec


def test_an_episode_is_a_table_of_its_first_timesteps() -> None:
    spec = EpisodeSpec({"camera": ImageSpec((16, 32, 3)), "joint": ContinuousSpec(12)}, DiscreteSpec(4))
    pixels = np.arange(20 * 16 * 32 * 3).astype(np.uint8).reshape(20, 16, 32, 3)
    joint = np.linspace(0, 1, 240).reshape(20, 12)
    metadata = EpisodeMetadata("toy/3", task="reach", success=1)
    episode = Episode(spec, {"camera": pixels, "joint": joint}, [1] * 20, metadata, rewards=[0.25] * 20)
    page = episode._repr_html_()
    assert "20 timesteps, episode <b>toy/3</b>, task <b>reach</b>, return <b>5</b>, success <b>yes</b>" in page
    assert "<th>7</th>" in page and "<th>8</th>" not in page and "12 more timesteps" in page
    assert page.count("<td>0.25</td>") == 8
    assert "0 0.004184 0.008368 0.01255 0.01674 0.02092 0.0251 0.02929 ... (12)" in page
    pictures = re.findall('data:image/png;base64,([^"]+)"', page)
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in pictures]
    assert np.array_equal(shown, pixels[:8])


def test_what_the_data_says_is_text() -> None:
    spec = EpisodeSpec({"<b>words": TextSpec()}, timesteps=False)
    episode = Episode(
        spec, {"<b>words": ["<script>alert(1)</script>" * 20]}, metadata=EpisodeMetadata("<i>", task="&x")
    )
    page = episode._repr_html_()
    assert "<script" not in page and "<i>" not in page and "<b>words" not in page
    assert "&lt;script&gt;" in page and "..." in page and "&amp;x" in page


def test_a_broken_picture_costs_its_cell_alone() -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 40)).save(file, "PNG")
    spec = EpisodeSpec({"a": ImageSpec(), "b": ImageSpec(resize=(16, 32))}, timesteps=False)
    page = Episode(spec, {"a": [b"no picture"], "b": [file.getvalue()]})._repr_html_()
    assert page.count("<img") == 1 and "16x32 pixels" in page and "no picture" not in page

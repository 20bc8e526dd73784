"""`python -m gato_tokenize`: encode, decode, show, train-text; and the printable view."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_episodes import TOY, toy_episode

from gato_tokenize import EpisodeTokenizer, Record, TextTokenizer, show, write_records
from gato_tokenize.__main__ import main


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out.removesuffix("\n")


def test_values_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "encode", "continuous", "[0, 1, -5]") == "[32512, 32744, 32198]"
    assert printed(capsys, "encode", "action", "0.5") == "32768"
    assert printed(capsys, "encode", "discrete", "[3, 0]", "--size", "4") == "[3, 0]"
    assert printed(capsys, "decode", "action", "[32640, 32000]") == "[0.2509765625, -0.9990234375]"
    assert printed(capsys, "decode", "discrete", "[3]") == "[3]"


def test_text_round_trip_and_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = printed(capsys, "encode", "text", "go to the red ball")
    assert json.loads(ids) == TextTokenizer().encode("go to the red ball").tolist()
    assert printed(capsys, "decode", "text", ids) == "go to the red ball"
    monkeypatch.setattr("sys.stdin", io.StringIO(ids))
    assert printed(capsys, "decode", "text", "-") == "go to the red ball"
    monkeypatch.setattr("sys.stdin", io.StringIO("go to the red ball"))
    assert printed(capsys, "encode", "text", "-") == ids


def test_an_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    out = printed(capsys, "encode", "image", str(tmp_path / "a.png"), "--out", str(tmp_path / "p.npy"))
    assert json.loads(out) == {"rows": 2, "columns": 3, "patches": 6}
    assert np.array_equal(np.load(tmp_path / "p.npy")[1], pixels[:16, 16:32])


def test_show_a_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tokenizer = EpisodeTokenizer(TOY)
    write_records(tmp_path / "shard", [Record(tokenizer.encode(toy_episode(steps))) for steps in (1, 5)])
    out = printed(capsys, "show", str(tmp_path / "shard"), "1", "--steps", "2", "--no-colour")
    assert out.count("64x80 pixels") == 2 and "... 3 more timesteps" in out
    assert "32512 32744 32198" in out and "continuous action *" in out and "\x1b" not in out


def test_the_view_paints_patches() -> None:
    text = show(EpisodeTokenizer(TOY).encode(toy_episode()))
    first = toy_episode().fields["observation/image"][0]
    stride = 2  # 80 pixels do not fit in 64 columns
    colour = first[:stride, :stride].reshape(-1, 3).mean(axis=0).astype(int).tolist()
    assert f"\x1b[38;2;{colour[0]};{colour[1]};{colour[2]};" in text
    assert len(re.findall("▀", text)) == 40 * 16


def test_train_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = "one two three four five six seven eight nine ten".split()
    (tmp_path / "corpus.txt").write_text("\n".join(f"{a} {b} {c}" for a in words for b in words for c in words))
    out = str(tmp_path / "small.model")
    sizes = ("--vocabulary-size", "330")
    assert printed(capsys, "train-text", str(tmp_path / "corpus.txt"), "--out", out, *sizes).endswith(": 330 pieces")
    ids = printed(capsys, "encode", "text", "two three", "--text-model", out)
    assert printed(capsys, "decode", "text", ids, "--text-model", out) == "two three"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "continuous", "[0, "], "expected JSON"),
        (["encode", "continuous", "[NaN]"], "nan"),
        (["encode", "discrete", "[9]", "--size", "4"], "outside"),
        (["decode", "action", "[5]"], "5"),
        (["encode", "image", "absent.png"], "absent.png"),
        (["show", "absent"], "absent"),
        (["encode", "text", "x", "--text-model", "absent.model"], "absent.model"),
    ],
)
def test_wrong_input_is_refused_with_a_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_training_on_latin_1_names_file_line_and_byte(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes(b"plain\n" + "ol\xe9\n".encode("latin-1"))
    assert main(["train-text", str(tmp_path / "a.txt"), "--out", str(tmp_path / "m.model")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/a.txt, line 2, byte 3 is 0xE9: that is not UTF-8" in said
    assert "iconv -f LATIN1 -t UTF-8 a.txt" in said
    assert not (tmp_path / "m.model").exists()


def test_a_folder_as_text_model(tmp_path, capsys):
    assert main(["encode", "text", "a", "--text-model", str(tmp_path)]) == 2
    assert "is a folder, not a SentencePiece .model file" in capsys.readouterr().err

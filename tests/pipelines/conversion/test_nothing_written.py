"""Where no episode at all could be written, the message says of every source how many failed, for which reasons, and
shows one of each."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from pipelines.__main__ import main
from pipelines.conversion.convert import convert
from pipelines.conversion.plan import make_plan
from pipelines.conversion.publish import PublishError
from pipelines.conversion.reject_budget import RejectBudget, RejectBudgetError
from pipelines.conversion.write_partition import write_here
from pipelines.sources import open_source
from tests.helpers.aloha_files import write_folder as write_aloha
from tests.helpers.coco_files import write_captions
from tests.helpers.conversions import minari_file, write_pictures
from tests.helpers.d4rl_files import write_flat
from tests.helpers.lerobot_files import write_v2, write_v3
from tests.helpers.npz_files import write_episodes
from tests.helpers.rlds_files import by_hand
from tests.helpers.robomimic_files import write_demos
from tests.helpers.table_files import control, write_parquet
from tests.helpers.zarr_files import write_replay


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def spoilt(path: Path, *names: str) -> Path:
    """Fill arrays of an HDF5 file, those of these names, with NaN."""
    found = []

    def spoil(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and name.endswith(names):
            node[...] = np.full(node.shape, np.nan, node.dtype)
            found.append(name)

    with h5py.File(path, "a") as file:
        file.visititems(spoil)
    assert found
    return path


def rlds() -> str:
    folder = by_hand(Path("toy/1.0.0"))
    for path in folder.glob("*.tfrecord*"):
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data[:2000])
    return f"rlds:{folder}"


def lerobot(write: Callable[[Path], Path]) -> str:
    folder = write(Path("toy"))
    for path in folder.glob("data/**/*.parquet"):
        path.write_bytes(path.read_bytes()[:-8])
    return f"lerobot:{folder}"


def minari() -> str:
    source = minari_file("none")
    spoilt(Path("minari-none/data/main_data.hdf5"), "observations")
    return source


def aloha() -> str:
    for path in write_aloha(Path("transfer")).iterdir():
        spoilt(path, "qpos")
    return "aloha:transfer"


def pictures() -> str:
    source = write_pictures(3)
    for path in Path().glob("*.png"):
        path.write_bytes(b"no picture")
    return source


def coco() -> str:
    path = write_captions(Path("coco"), images=(3, 5, 8))
    for picture in Path("coco/val2017").iterdir():
        picture.write_bytes(b"no picture")
    return f"coco:{path}"


def parquet() -> str:
    table = control((3, 1, 6))
    spoilt = [[[float("nan")] * 3] * count for count in (3, 1, 6)]
    column = pa.array(spoilt, table.schema.field("continuous_observations").type)
    return f"parquet:{write_parquet(Path('a.parquet'), table.set_column(0, 'continuous_observations', column))}"


def text() -> str:
    Path("a.jsonl").write_bytes(b'{"text": "\xff"}\n{"txt": 1}\n{"text"\n')
    return "text:a.jsonl"


def zarr() -> str:
    return f"zarr:{write_replay(Path('a.zarr'), state=np.full((10, 5), np.nan, np.float32))}"


MAKERS: dict[str, Callable[[], str]] = {
    "rlds": rlds,
    "lerobot-v3": lambda: lerobot(write_v3),
    "lerobot-v2": lambda: lerobot(write_v2),
    "minari": minari,
    "robomimic": lambda: f"robomimic:{spoilt(write_demos(Path('a.hdf5')), 'object')}",
    "aloha": aloha,
    "d4rl": lambda: f"d4rl:{spoilt(write_flat(Path('a.hdf5')), 'observations')}",
    "zarr": zarr,
    "parquet": parquet,
    "npz": lambda: f"npz:{write_episodes(Path('sets'), joints=np.full((3, 3), np.nan))}",
    "coco": coco,
    "image-text": pictures,
    "text": text,
    "rollouts": lambda: "rollouts:faulty_environments:Faulty/Count-v0?policy=random&episodes=1&seed=1&fault=raise",
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("budget", ["0", "100%"])
def test_every_episode_is_rejected(name: str, budget: str) -> None:
    source = MAKERS[name]()
    plan, tokenizer = make_plan([source], Path("out/toy/1.0.0"))
    with pytest.raises((PublishError, RejectBudgetError)) as error:
        convert(plan, tokenizer, Path("out/toy/1.0.0"), RejectBudget(budget), write_here)
    said = str(error.value)
    forms = {"100%": r"not one of (\d+) episodes? was written: (\d+) rejected", "0": r"(\d+) of (\d+) episodes?"}
    form = forms[budget]
    read, rejected = re.search(form, said).groups()  # type: ignore[union-attr]
    assert read == rejected
    reasons = re.search(r"rejected \((.*?)\)", said)[1].split(", ")  # type: ignore[index]
    assert sum(int(reason.split()[0]) for reason in reasons) == int(read)
    (folder,) = Path("out/toy").glob(".*")
    first = json.loads(sorted(folder.glob("rejects/*"))[0].read_text(encoding="utf-8").splitlines()[0])
    shown = " ".join(first["message"].split())[:100]
    assert f"For example, {first['episode_id']}: {shown}" in said and shown
    assert f"`gato-data rejects list {folder}`" in said and not Path("out/toy/1.0.0").exists()


@pytest.mark.parametrize("source", ["text", "rollouts"])
def test_every_episode_is_filtered(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("\n\n \n", encoding="utf-8")
    environment = "faulty_environments:Faulty/Count-v0?policy=random&episodes=3&min_return=1000"
    given = {"text": "text:a.txt?by=line", "rollouts": f"rollouts:{environment}"}[source]
    assert main(["convert", given, "--out", "out/toy/1.0.0"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"not one of 3 episodes was written: 3 filtered \(3 [a-z].*\)\. There is nothing to", said)


def test_a_run_that_stops_early_shows_a_reject(capsys: pytest.CaptureFixture[str]) -> None:
    text()
    assert main(["convert", "text:a.jsonl", "--out", "out/toy/1.0.0", "--workers", "2"]) == 3
    said = capsys.readouterr().err
    assert "read: ValueError" in said and "For example, a.jsonl#1: a.jsonl, line 1" in said


def test_of_each_reason_one_reject_is_shown_and_a_long_one_is_cut() -> None:
    pictures()
    lines = [{"image": f"{i}.png", "caption": "words"} for i in range(3)] + [
        {"image": "n" * 999, "caption": "words"}
    ] * 3
    Path("pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    plan, tokenizer = make_plan(["image-text:pairs.jsonl"], Path("out/toy/1.0.0"))
    with pytest.raises(PublishError) as error:
        convert(plan, tokenizer, Path("out/toy/1.0.0"), RejectBudget("100%"), write_here)
    said = str(error.value)
    shown = said.partition("For example, ")[2].partition(". There is nothing")[0]
    assert re.fullmatch(r"pairs.jsonl#1: .*; and pairs.jsonl#4: .{200}\.\.\.", shown), shown

"""The case of bench_sources for captions of COCO, beside bare reading with json."""

import json
from pathlib import Path
from typing import Any

from benchmarks.hdf5_cases import pictures


def make_coco(folder: Path, episodes: int) -> None:
    """Pictures of 480x640 as JPEG, four captions of each, and 50 images in the list for each that is there."""
    from PIL import Image

    (folder / "val2017").mkdir()
    count = episodes // 4
    for number in range(count):
        Image.fromarray(pictures(number, 1, 480, 640)[0]).save(folder / "val2017" / f"{number:012d}.jpg")
    address = "http://images.cocodataset.org/val2017/000000391895.jpg"
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "coco_url": address, "license": 3} for i in range(count * 50)]
    captions = [{"id": i, "image_id": i % count, "caption": f"A red square, seen {i} times"} for i in range(episodes)]
    content = {"info": {}, "images": images, "annotations": captions}
    (folder / "captions_val2017.json").write_text(json.dumps(content), encoding="utf-8")


def coco_by_json(folder: Path) -> int:
    """Load the whole file, and read the picture of each caption."""
    content = json.loads((folder / "captions_val2017.json").read_bytes())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for caption in content["annotations"]:
        (folder / "val2017" / names[caption["image_id"]]).read_bytes()
    return len(content["annotations"])


PICTURE_CASES: dict[str, dict[str, Any]] = {
    "coco": {
        "make": make_coco,
        "source": "coco:{folder}/captions_val2017.json",
        "bare": {"json": coco_by_json},
        "imports": "json",
        "steps": 1,
        "few": 200,
    },
}

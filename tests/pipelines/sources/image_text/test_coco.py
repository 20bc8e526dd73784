"""CocoSource: captions of COCO and questions of VQA beside folders of pictures, whole or damaged."""

import functools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_files import answers_path, changed, picture_file, write_captions, write_pictures, write_questions
from conversions import convert, small_model, tree
from limited import episodes_of, open_anew, results_of

from gato_tokenize import Dataset, Episode, EpisodeSpec, EpisodeTokenizer, ImageSpec
from pipelines.sources.contract import SourceContract
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.image_text import image_lines, joined, json_arrays
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.recognition import named_source

opened = functools.partial(open_anew, "coco")
results = functools.partial(results_of, "coco")
episodes = functools.partial(episodes_of, "coco")


def texts(found: list[Any], field: str = "caption") -> list[str]:
    return [one.observations[field][0] for one in found if isinstance(one, Episode)]


class TestContractOfCaptions(SourceContract):
    def make(self, folder: Path) -> str:
        write_captions(folder)
        return f"coco:{folder}"


class TestContractOfQuestions(SourceContract):
    def make(self, folder: Path) -> str:
        return f"coco:{write_questions(folder)}?task=vqav2"


class TestCaptions:
    def test_every_value_is_that_of_json(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        content = json.loads(path.read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        *found, alone = results(path)
        for one, annotation in zip(found, content["annotations"], strict=True):
            data = (tmp_path / "val2017" / names[annotation["image_id"]]).read_bytes()
            assert one.observations == {"image": [data], "caption": [annotation["caption"]]}
            assert one.metadata.episode_id == f"{path}#{annotation['id']}"
            assert (one.metadata.task, one.metadata.domain) == ("caption", "vision-language")
        assert isinstance(alone, Filtered) and str(alone) == "image without a caption"
        assert opened(path).specs() == {"caption": EpisodeSpec.caption()}

    def test_images_may_follow_their_annotations(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        expected = texts(results(path))
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: content[key] for key in ("annotations", "images", "info")}, indent=2))
        assert texts(results(path)) == expected

    def test_of_several_captions_the_first_or_a_random_one(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        assert texts(results(path)) == ["A cat.", "A dog.", "The cat.", "Two dogs.", "A car.", "Cats!"]
        assert texts(results(path, "?captions=first")) == ["A cat.", "A dog.", "A car."]
        assert opened(path, "?captions=first").notes() == [f"captions=first leaves out 3 captions of {path}"]
        assert not opened(path).notes()
        drawn = Counter()
        for seed in range(60):
            found = texts(results(path, f"?captions=random&seed={seed}"))
            assert found == texts(results(path, f"?captions=random&seed={seed}"))
            assert len(found) == 3 and {text.strip(".!").lower().rstrip("s")[-3:] for text in found} == {
                "cat", "dog", "car",
            }  # fmt: skip
            drawn.update(found)
        assert drawn["A car."] == 60 and all(8 < drawn[text] < 33 for text in ("A cat.", "The cat.", "Cats!"))

    def test_a_random_choice_does_not_depend_on_the_order_of_the_images(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        before = set(texts(results(path, "?captions=random&seed=3")))
        content = json.loads(path.read_text())
        content["images"].reverse()
        path.write_text(json.dumps(content))
        assert set(texts(results(path, "?captions=random&seed=3"))) == before

    @pytest.mark.parametrize("captions", ["all", "first", "random"])
    def test_many_images_and_captions_against_a_plain_loop(
        self, tmp_path: Path, captions: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(json_arrays, "CHUNK", 500)
        generator = random.Random(0)
        numbers = generator.sample(range(10**6), 40)
        made = [(generator.choice(numbers), f"caption {i}") for i in range(150)]
        path = write_captions(tmp_path, made, images=numbers)
        by_image: dict[int, list[str]] = {}
        for number, text in made:
            by_image.setdefault(number, []).append(text)
        found = results(path, f"?captions={captions}&seed=1")
        for one in found:
            if isinstance(one, Episode):
                number = next(n for n, texts in by_image.items() if one.observations["caption"][0] in texts)
                assert one.observations["image"] == [picture_file(number)]
        taken = texts(found)
        if captions == "all":
            assert taken == [text for _, text in made]
        elif captions == "first":
            assert taken == sorted((texts[0] for texts in by_image.values()), key=lambda x: int(x.split()[1]))
        else:
            assert Counter(n for n, texts in by_image.items() for text in taken if text in texts) == dict.fromkeys(
                by_image, 1
            )
        assert sum(isinstance(one, Filtered) for one in found) == 40 - len(by_image)

    def test_ids_may_be_strings(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["id"] = f"image {image['id']}"
        for annotation in content["annotations"]:
            annotation |= {"image_id": f"image {annotation['image_id']}", "id": f"caption {annotation['id']}"}
        path.write_text(json.dumps(content))
        found = [one for one in results(path) if isinstance(one, Episode)]
        assert found[1].metadata.episode_id == f"{path}#caption 101" and len(found) == 6
        assert found[1].observations == {"image": [picture_file(3)], "caption": ["A dog."]}

    def test_the_options_of_image_text(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path, [(3, "A dog.\n")])
        (one, *_) = results(path, "?resize=32x48&task=coco&strip=true")
        assert one.observations["caption"] == ["A dog."] and one.metadata.task == "coco-caption"
        assert opened(path, "?resize=32x48").specs() == {"caption": EpisodeSpec.caption(ImageSpec(resize=(32, 48)))}
        with pytest.raises(SourceError, match="captions=some must be one of all, first, random"):
            opened(path, "?captions=some")


class TestQuestions:
    def test_every_value_is_that_of_json(self, tmp_path: Path) -> None:
        path = write_questions(tmp_path)
        one, two, three = episodes(path)
        picture = (tmp_path / "train2014" / f"COCO_train2014_{5:012d}.jpg").read_bytes()
        assert one.observations == {"image": [picture], "question": ["What is it?"], "answer": ["cat"]}
        assert (two.observations["question"], two.observations["answer"]) == (["How many?"], ["2"])
        assert one.metadata.episode_id == f"{answers_path(path)}#1000" and one.metadata.task == "vqa"
        assert [one.notes for one in (one, two, three)] == [{}, {}, {"answer that is as common as another": 1}]

    def test_the_question_is_not_predicted(self, tmp_path: Path) -> None:
        one, *_ = episodes(write_questions(tmp_path))
        fields = one.spec.fields
        assert not fields["observation/question"].predict and fields["observation/answer"].predict
        sequence = EpisodeTokenizer(one.spec).encode(one)
        shorter = Episode(one.spec, {**one.observations, "question": ["?"]})
        other = EpisodeTokenizer(one.spec).encode(shorter)
        assert sequence.loss_mask.sum() == other.loss_mask.sum() < len(sequence.ids) and len(other.ids) < len(
            sequence.ids
        )

    @pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0)])
    def test_answers_in_another_order_than_their_questions(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        found = episodes(write_questions(tmp_path, order=order))
        asked = ["What is it?", "How many?", "Red?"]
        assert texts(found, "question") == [asked[i] for i in order]
        assert sorted(texts(found, "answer")) == ["2", "cat", "yes"]

    def test_many_questions_in_any_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_arrays, "CHUNK", 1000)
        monkeypatch.setattr(json_arrays, "SKIPPED", 5)
        generator = random.Random(0)
        asked = [(i % 4, f"question {i}", [f"answer {i}"] * 10) for i in range(60)]
        found = episodes(write_questions(tmp_path, asked, order=generator.sample(range(60), 60)))
        for one in found:
            number = one.observations["question"][0].removeprefix("question ")
            assert one.observations["answer"] == [f"answer {number}"]
            assert one.observations["image"] == [picture_file(int(number) % 4)]

    @pytest.mark.parametrize(
        ("answers", "chosen", "expected", "tied"),
        [
            (["a", "b", "b"], "a", "b", False),
            (["a", "b", "b", "a"], "b", "b", True),
            (["a", "b", "b", "a"], "c", "a", True),
            (["a", "b", "c"], None, "a", True),
            (["b"], None, "b", False),
        ],
    )
    def test_the_most_common_answer_and_ties(
        self, tmp_path: Path, answers: list[str], chosen: str | None, expected: str, tied: bool
    ) -> None:
        path = write_questions(tmp_path, [(1, "Who?", answers)])
        changed(answers_path(path), "annotations", 0, multiple_choice_answer=chosen)
        (one,) = episodes(path)
        assert one.observations["answer"] == [expected] and bool(one.notes) == tied

    def test_a_file_with_chosen_answers_alone(self, tmp_path: Path) -> None:
        path = write_questions(tmp_path, [(1, "Who?", ["me"])])
        changed(answers_path(path), "annotations", 0, answers=None)
        assert texts(episodes(path), "answer") == ["me"]

    def test_ok_vqa(self, tmp_path: Path) -> None:
        """Its files have no version; its answers are stemmed, beside the raw ones."""
        path = write_questions(tmp_path, [(1, "What sport?", ["race"] * 9 + ["run"])], version="")
        content = json.loads(answers_path(path).read_text())
        for answer in content["annotations"][0]["answers"]:
            answer |= {"raw_answer": "racing", "confidence": 3}
        answers_path(path).write_text(json.dumps(content))
        assert path.name == "OpenEnded_mscoco_train2014_questions.json"
        assert texts(episodes(path), "answer") == ["race"]

    def test_either_file_names_both(self, tmp_path: Path) -> None:
        path = write_questions(tmp_path)
        for argument in (path, answers_path(path), tmp_path / "*_mscoco_*.json", tmp_path):
            assert [one.metadata.episode_id for one in episodes(argument)] == [
                f"{answers_path(path)}#{1000 + i}" for i in range(3)
            ]
            assert len(opened(argument).inputs()) == 3

    def test_pairs_that_are_none(self, tmp_path: Path) -> None:
        path = write_questions(tmp_path)
        again = tmp_path / path.name.replace("OpenEnded", "MultipleChoice")
        again.write_bytes(path.read_bytes())
        with pytest.raises(SourceError, match="needs one file .*_questions.json .* found .* and "):
            opened(answers_path(path)).specs()
        with pytest.raises(SourceError, match="answers the questions of .* name one of them"):
            opened(tmp_path).specs()
        assert len(episodes(path)) == 3
        again.unlink()
        tests = tmp_path / "v2_OpenEnded_mscoco_test2015_questions.json"
        tests.write_bytes(path.read_bytes())
        with pytest.raises(SourceError, match=r"test2015_questions.json needs .*found none; questions of a test"):
            opened(tests).specs()
        assert opened(tmp_path).notes() == [f"{tests} has no answers beside it, and is left out"]


class TestFolders:
    @pytest.mark.parametrize(
        "place", ["val2017", "images/val2017", "annotations/val2017", "annotations", ".", "images"]
    )
    def test_where_pictures_are_searched_for(self, tmp_path: Path, place: str) -> None:
        path = write_captions(tmp_path)
        (tmp_path / "val2017").rename(tmp_path / "aside")
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for file in (tmp_path / "aside").iterdir():
            file.rename(tmp_path / place / file.name)
        assert len(texts(results(path))) == 6

    @pytest.mark.parametrize("option", ["{}/far", "{}/none,{}/far", "{}/far/val2017"])
    def test_folders_by_name(self, tmp_path: Path, option: str) -> None:
        path = write_captions(tmp_path)
        for folder in ("far", "none"):
            (tmp_path / folder).mkdir()
        (tmp_path / "val2017").rename(tmp_path / "far/val2017")
        assert len(texts(results(path, f"?images={option.replace('{}', str(tmp_path))}"))) == 6
        with pytest.raises(SourceError, match=r"there is no folder .*/gone"):
            opened(path, f"?images={tmp_path}/gone").specs()

    @pytest.mark.parametrize("names", ["{:012d}.jpg", "{}.jpg", "COCO_val2014_{:012d}.jpg"])
    def test_names_of_numbered_pictures(self, tmp_path: Path, names: str) -> None:
        assert len(episodes(write_questions(tmp_path, part="val2014", names=names))) == 3

    def test_questions_of_2014_with_the_folders_of_2017(self, tmp_path: Path) -> None:
        path = write_questions(tmp_path, names="{:012d}.jpg")
        (tmp_path / "train2014").rename(tmp_path / "train2017")
        write_pictures(tmp_path / "val2017", {5: f"{5:012d}.jpg"})
        (tmp_path / "train2017" / f"{5:012d}.jpg").unlink()
        with pytest.raises(SourceError, match="not one of its pictures is there: no .* give their folder by images="):
            opened(path).partitions()
        assert len(episodes(path, f"?images={tmp_path}/train2017,{tmp_path}/val2017")) == 3

    def test_splits_come_from_the_names(self, tmp_path: Path) -> None:
        write_captions(tmp_path, part="train2017")
        write_captions(tmp_path, part="val2017")
        write_captions(tmp_path, part="mine")
        (tmp_path / "mine").rename(tmp_path / "annotations/images")
        source = opened(tmp_path)
        assert source.splits() == ("train", "validation")
        found = {Path(c.source_uri).name: c.split for part in source.partitions() for c in source.candidates(part)}
        assert found == {
            "captions_mine.json": "train",
            "captions_train2017.json": "train",
            "captions_val2017.json": "validation",
        }
        assert opened(tmp_path / "annotations/captions_mine.json").splits() == ()

    def test_a_folder_without_such_files(self, tmp_path: Path) -> None:
        (tmp_path / "instances_val2017.json").write_text("{}")
        with pytest.raises(SourceError, match=r"hold neither captions_\*.json nor"):
            opened(tmp_path).specs()

    def test_names_with_folders_in_them(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["file_name"] = f"val2017/{image['file_name']}"
        path.write_text(json.dumps(content))
        assert len(texts(results(path))) == 6

    def test_image_text_names_this_source(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        with pytest.raises(SourceError, match=f"are read as coco:{path}"):
            open_anew("image-text", path).inputs()

    def test_a_plain_path_is_recognised_by_the_names(self, tmp_path: Path) -> None:
        captions, questions = write_captions(tmp_path / "coco"), write_questions(tmp_path / "vqa")
        for path in (tmp_path / "coco", captions, tmp_path / "vqa", questions, answers_path(questions)):
            assert named_source(str(path)) == f"coco:{path}"


class TestFaults:
    def test_each_costs_its_annotation(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path, [(3, "ok")] * 9)
        for number, values in enumerate(
            [
                {"image_id": 77},
                {"image_id": None},
                {"caption": None},
                {"caption": " "},
                {"caption": ["a"]},
                {"id": 100},
                {"id": [1]},
                {"id": None},
            ]
        ):
            changed(path, "annotations", number, **values)
        found = [one for one in results(path) if not isinstance(one, Filtered)]
        for one, expected in zip(
            found,
            [
                "annotations[0], id 100: no image has the image_id 77",
                "annotations[1], id 101: no image has the image_id None",
                "annotations[2], id 102: no key 'caption'",
                "annotations[3], id 103: the caption is empty",
                "annotations[4], id 104: 'caption' must be a string",
                "annotations[5]: an annotation before it has its id, 100, too",
                "annotations[6]: 'id' must be a string",
            ],
            strict=False,
        ):
            assert isinstance(one, Reject) and f"{path}, {expected}" in one.message
        assert [type(one) for one in found[7:]] == [Episode, Episode]
        assert found[7].metadata.episode_id == f"{path}#annotations[7]" and found[0].episode_id == f"{path}#100"

    def test_members_that_are_no_objects(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        content = json.loads(path.read_text())
        content["annotations"][2:2] = [None, [{"a": {}}], "x } {"]
        content["images"][1:1] = [7, None]
        path.write_text(json.dumps(content))
        found = results(path)
        assert [type(one) for one in found[:9]] == [Episode] * 2 + [Reject] * 3 + [Episode] * 4
        assert "annotations[3]: expected a JSON object, got list" in found[3].message

    def test_a_missing_picture_costs_its_samples(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        (tmp_path / "val2017" / f"{5:012d}.jpg").unlink()
        (tmp_path / "val2017" / f"{8:012d}.jpg").write_bytes(b"")
        found = results(path)
        assert [type(one) for one in found] == [Reject, Episode] * 2 + [Reject] * 2 + [Filtered]
        assert f"{path}, annotations[0], id 100: the image '{5:012d}.jpg' is not there: no" in found[0].message
        assert "is an empty file" in found[4].message

    def test_pictures_are_checked_like_those_of_image_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(image_lines, "MAX_IMAGE_BYTES", 5000)
        path = write_captions(tmp_path / "coco")
        (tmp_path / "secret.jpg").write_bytes(picture_file(1))
        (tmp_path / "coco/val2017/link.jpg").symlink_to(tmp_path / "secret.jpg")
        (tmp_path / "coco/val2017/large.jpg").write_bytes(bytes(5001))
        names = ["../../secret.jpg", "link.jpg", "large.jpg"]
        for number, name in enumerate(names):
            changed(path, "images", number, file_name=name)
        messages = [one.message for one in results(path) if isinstance(one, Reject)]
        assert len(messages) == 6
        for expected in ("must be a path below the folder", "is a link out of the folder", "has 5001 bytes, more than"):
            assert any(expected in message for message in messages)

    def test_two_images_with_one_id(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        changed(path, "images", None, id=5, file_name=f"{9:012d}.jpg")
        found = results(path)
        assert [type(one) for one in found[:6]] == [Reject, Episode] * 2 + [Episode, Reject]
        assert "more than one image has the image_id 5" in found[0].message

    @pytest.mark.parametrize("captions", ["first", "random"])
    def test_faults_are_told_whatever_captions_are_taken(self, tmp_path: Path, captions: str) -> None:
        path = changed(write_captions(tmp_path), "annotations", 0, image_id=77)
        found = results(path, f"?captions={captions}")
        assert [type(one) for one in found].count(Reject) == 1 and len(texts(found)) == 3

    def test_questions_and_answers_without_each_other(self, tmp_path: Path) -> None:
        path = write_questions(tmp_path)
        changed(answers_path(path), "annotations", 0, question_id=77)
        changed(answers_path(path), "annotations", 1, image_id=5)
        found = results(path)
        assert [type(one) for one in found] == [Reject, Reject, Episode, Reject]
        assert "annotations[0], question_id 77: no question has the question_id 77" in found[0].message
        assert "its image_id is 5, and that of its question 3" in found[1].message
        assert f"{path}, questions[0], question_id 1000: {answers_path(path)} has no annotation" in found[3].message

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"answers": []}, "it has no answers"),
            ({"answers": [{"answer": 2}]}, "'answer' must be a string"),
            ({"answers": ["a"]}, "answers: expected a JSON object"),
            ({"answers": [{"answer": " "}]}, "the answer is empty"),
            ({"answers": None, "multiple_choice_answer": None}, "it has no answers"),
            ({"answers": None, "multiple_choice_answer": 3}, "'answer' must be a string"),
        ],
    )
    def test_answers_that_cost_their_question(self, tmp_path: Path, values: dict[str, Any], expected: str) -> None:
        path = write_questions(tmp_path)
        changed(answers_path(path), "annotations", 1, **values)
        found = results(path)
        assert [type(one) for one in found] == [Episode, Reject, Episode]
        assert "annotations[1], question_id 1001" in found[1].message and expected in found[1].message

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("annotations", [], "has no list 'annotations' with members"),
            ("annotations", {"a": 1}, "has no list 'annotations' with members"),
            ("images", [], "has no list 'images' with members"),
            ("annotations", [{"id": 1, "image_id": 5, "bbox": [1, 2]}], "none of its annotations has caption"),
        ],
    )
    def test_files_that_hold_no_captions(self, tmp_path: Path, key: str, value: Any, expected: str) -> None:
        path = write_captions(tmp_path, **{key: value})
        with pytest.raises(SourceError, match=expected):
            opened(path).partitions()

    def test_a_file_cut_anywhere_is_refused(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        whole = path.read_bytes()
        for size in {*range(0, len(whole), 20), len(whole) - 1}:
            path.write_bytes(whole[:size])
            with pytest.raises(SourceError, match=r"captions_val2017.json is no whole JSON file"):
                opened(path).partitions()

    def test_a_changed_byte_is_an_error_a_reject_or_a_value(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        whole = path.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(whole), 60).tolist():
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
            try:
                found = results(path)
            except SourceError as error:
                assert str(path) in str(error)
                continue
            assert all(isinstance(one, Episode | Filtered) or str(path) in one.message for one in found)

    def test_a_file_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        source = opened(path := write_captions(tmp_path))
        (part,) = source.partitions()
        changed(path, "annotations", None, id=7, image_id=5, caption="new")
        for one in (source, opened(path)):
            ((_, reject),) = read_partition(one, part)
            assert isinstance(reject, Reject) and "has changed since it was planned" in reject.message

    def test_another_size_of_a_picture_is_seen(self, tmp_path: Path) -> None:
        path = write_captions(tmp_path)
        before = opened(path).inputs()
        (tmp_path / "val2017" / f"{5:012d}.jpg").write_bytes(picture_file(5, side=32))
        assert [one != two for one, two in zip(before, opened(path).inputs(), strict=True)] == [False, True]

    def test_an_episode_can_be_loaded_after_the_others(self, tmp_path: Path) -> None:
        source = opened(write_questions(tmp_path))
        candidates = [one for part in source.partitions() for one in source.candidates(part)]
        assert texts([one.load() for one in reversed(candidates)], "answer") == ["yes", "2", "cat"]


def test_ids_take_few_bytes_each(tmp_path: Path) -> None:
    path = write_captions(tmp_path, [(3, "a dog")] * 20_000, images=[3])
    found = joined.join(opened(path)._found[0][0], "all", 0)  # type: ignore[attr-defined]
    arrays = (found.partner, found.twice, found.taken, found.alone)
    assert len(found.taken) == 20_000 and sum(one.nbytes for one in arrays) < 20 * 20_000


def write_coco() -> None:
    numbers = list(range(60))
    write_captions(Path("coco"), [(n, f"caption {n}") for n in numbers * 2], images=numbers, part="train2017", side=176)
    write_captions(Path("coco"), [(n, f"caption {n}") for n in numbers[:5]], images=numbers[:5], part="val2017")


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_coco()
    for workers in ("1", "2"):
        words = ["coco:coco", "--workers", workers, *small_model()]
        assert convert(*words, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 3
    assert Dataset.open("out1/toy/1.0.0").manifest["splits"].keys() == {"train", "validation"}

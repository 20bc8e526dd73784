"""The splits of a plan: those of its sources, or those that a validation fraction makes."""

import dataclasses
import json

import pytest

from pipelines.conversion.plan import Plan
from pipelines.conversion.work import Work


@pytest.fixture
def plan() -> Plan:
    return Plan("toy", "1.0.0", (Work("text:a.txt", {}),), (), "0" * 64)


def test_an_episode_keeps_the_split_of_its_source(plan: Plan) -> None:
    own = dataclasses.replace(plan, source_splits=("test", "train"))
    assert own.splits == ("train", "test")
    assert (own.split_of("a", "test"), own.split_of("a")) == ("test", "train")


def test_a_validation_fraction_replaces_them(plan: Plan) -> None:
    divided = dataclasses.replace(plan, source_splits=("test",), validation_fraction=0.5)
    assert divided.splits == ("train", "validation")
    assert {divided.split_of(str(number), "test") for number in range(20)} == {"train", "validation"}


def test_a_plan_without_them_has_the_json_that_it_always_had(plan: Plan) -> None:
    assert "source_splits" not in json.loads(plan.to_json())
    own = dataclasses.replace(plan, source_splits=("test",))
    assert Plan.from_json(own.to_json()) == own and Plan.from_json(plan.to_json()) == plan
    assert own.sha256 != plan.sha256

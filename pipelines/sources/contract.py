"""The contract of a source, as tests: inherit `SourceContract` and write the method that makes a small input."""

import copy
import json
import pickle
from pathlib import Path

import pytest

from gato_tokenize import Episode
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.recognition import named_source, source_names
from pipelines.sources.source import Candidate, Source
from pipelines.sources.step_fields import is_below


class SourceContract:
    """Inherit it in tests/pipelines/sources/ as `class TestContract(SourceContract)`."""

    def make(self, folder: Path) -> str:
        """Write a small, real and legal input of at least 3 episodes below `folder`; return its source string."""
        raise NotImplementedError

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        open_source.cache_clear()
        return open_source(self.make(tmp_path))

    @staticmethod
    def read(source: Source) -> list[tuple[Candidate, Episode | Reject | Filtered]]:
        return [item for partition in source.partitions() for item in read_partition(source, partition)]

    def test_every_candidate_of_a_legal_input_is_an_episode_of_a_named_task(self, source: Source) -> None:
        results = [result for _, result in self.read(source) if not isinstance(result, Filtered)]
        assert len(results) >= 3
        specs = source.specs()
        for result in results:
            assert isinstance(result, Episode), result
            assert result.spec == specs[result.metadata.task]

    def test_metadata_names_the_candidate(self, source: Source) -> None:
        for candidate, episode in self.read(source):
            if isinstance(episode, Episode):
                named = episode.metadata
                assert named.episode_id == candidate.episode_id
                assert (named.source_uri, named.source_index) == (candidate.source_uri, candidate.source_index)
                assert named.domain and named.task

    def test_ids_are_unique_and_the_same_when_read_again(self, source: Source) -> None:
        ids = [candidate.episode_id for candidate, _ in self.read(source)]
        assert len(set(ids)) == len(ids)
        open_source.cache_clear()
        assert [candidate.episode_id for candidate, _ in self.read(open_source(source.source))] == ids

    def test_partitions_and_inputs_are_json_and_the_same_when_planned_again(self, source: Source) -> None:
        open_source.cache_clear()
        again = open_source(source.source)
        for one, two in ((source.partitions(), again.partitions()), (source.inputs(), again.inputs())):
            assert one and json.loads(json.dumps(one)) == one == two

    def test_candidates_are_counted_without_being_loaded(self, source: Source) -> None:
        """A limit counts candidates like this, unless the partition gives its "count"."""
        for partition in source.partitions():
            named = [candidate.episode_id for candidate in source.candidates(copy.deepcopy(partition))]
            assert named == [candidate.episode_id for candidate, _ in read_partition(source, partition)]
            assert partition.get("count", len(named)) == len(named)

    def test_a_source_can_be_sent_to_a_worker(self, source: Source) -> None:
        moved = pickle.loads(pickle.dumps(source))
        partition = source.partitions()[0]
        expected = [candidate.episode_id for candidate, _ in read_partition(source, partition)]
        assert [candidate.episode_id for candidate, _ in read_partition(moved, copy.deepcopy(partition))] == expected

    def test_its_plain_path_is_recognised(self, source: Source) -> None:
        name, _, path = source.source.partition(":")
        if not type(source).looks_for or name not in source_names():
            pytest.skip("no plain path means this source")
        assert named_source(path) == source.source

    def test_an_unknown_option_is_refused_by_name(self, source: Source) -> None:
        joint = "&" if "?" in source.source else "?"
        with pytest.raises(SourceError, match="no_such_option"):
            unknown = open_source(source.source + joint + "no_such_option=1")
            unknown.partitions()


class EpisodeSourceContract(SourceContract):
    """What a source whose options are `EpisodeOptions` promises as well. Its input has at least two fields in the
    observation."""

    @staticmethod
    def opened(source: Source, option: str) -> Source:
        return open_source(source.source + ("&" if "?" in source.source else "?") + option)

    @classmethod
    def episodes(cls, source: Source) -> list[Episode]:
        found = [result for _, result in cls.read(source)]
        assert found and all(isinstance(one, Episode) for one in found), found
        return [one for one in found if isinstance(one, Episode)]

    def test_every_field_has_a_reason(self, source: Source) -> None:
        for task, spec in source.specs().items():
            assert set(source.reasons()[task]) == set(spec.fields)

    def test_a_file_of_fields_finds_each_field_of_its_readings(self, source: Source) -> None:
        for task, reading in source.readings().items():
            assert reading.spec == source.specs()[task]
            assert all(any(is_below(path, place) for place in reading.places) for path in reading.spec.fields)

    def test_an_episode_has_a_split_of_its_source(self, source: Source) -> None:
        for candidate, _ in self.read(source):
            assert candidate.split in (source.splits() or ("",))

    def test_max_steps_cuts_an_episode_and_truncates_it(self, source: Source) -> None:
        cut = self.episodes(self.opened(source, "max_steps=1"))
        for one, whole in zip(cut, self.episodes(source), strict=True):
            assert one.num_steps == 1
            if whole.num_steps > 1:
                assert one.metadata.truncated and not one.metadata.terminated

    def test_a_field_is_left_out_and_noted(self, source: Source) -> None:
        for spec in source.specs().values():
            path = [path for path in spec.observation_fields if path != "observation/instruction"][0]
            without = self.opened(source, f"fields=-{path}")
            assert all(path not in other.fields for other in without.specs().values())
            assert any(path in note for note in without.notes())
            assert all(path not in episode.fields for episode in self.episodes(without))

    def test_task_names_the_task(self, source: Source) -> None:
        if len(source.specs()) == 1:
            assert {episode.metadata.task for episode in self.episodes(self.opened(source, "task=named"))} == {"named"}

    @pytest.mark.parametrize("option", ["fields=no/such", "action=no/such", "instruction=no/such", "splits=no_such"])
    def test_what_is_not_there_is_refused_by_name(self, source: Source, option: str) -> None:
        with pytest.raises(SourceError, match=option.partition("=")[2]):
            opened = self.opened(source, option)
            opened.specs(), opened.splits()

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, EpisodeTokenizer, ImageSpec, TextSpec, TextTokenizer
from pipelines.conversion.limit import limited_works
from pipelines.sources import open_source
from pipelines.sources.contract import SourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.rollouts import player
from pipelines.sources.rollouts.source import RolloutSource
from pipelines.sources.source import Source

COUNT = "rollouts:faulty_environments:Faulty/Count-v0?policy=random"


def played(source: str, first: int = 0, count: int | None = None) -> list[Any]:
    """Episodes and rejects of a source, from the child process of one partition."""
    opened = open_source(source)
    assert isinstance(opened, RolloutSource)
    partition = {"first": first, "count": opened.options.episodes if count is None else count}
    return [result for _, result in read_partition(opened, partition)]


def assert_same(one: Episode, two: Episode) -> None:
    assert one.metadata == two.metadata and one.fields.keys() == two.fields.keys()
    for path in one.fields:
        np.testing.assert_array_equal(one.fields[path], two.fields[path], err_msg=path)
        assert getattr(one.fields[path], "dtype", str) == getattr(two.fields[path], "dtype", str)


class TestContract(SourceContract):
    def make(self, folder: Path) -> str:
        return "rollouts:BabyAI-GoToLocal-v0?episodes=4&seed=3"


class TestAnEpisode:
    def test_of_counting_to_three(self) -> None:
        """Observations are copied before each action; the fourth, after the last action, is left out."""
        (episode,) = played(COUNT + "&episodes=1&seed=5")
        assert episode.observations[:, 0].tolist() == [0, 1, 2]
        assert episode.actions.shape == (3, 1) and np.abs(episode.actions).max() <= 2
        assert (episode.observations.dtype, episode.actions.dtype) == (np.float32, np.float32)
        assert episode.notes == {"final observation left out": 1}
        named = episode.metadata
        assert named.episode_id == "Faulty/Count-v0/seed=5/random"
        assert (named.domain, named.task, named.agent_id) == ("Faulty", "Faulty/Count-v0", "random")
        assert (named.return_, named.success, named.terminated, named.truncated) == (4.5, -1, True, False)
        assert named.source_uri == "rollouts:faulty_environments:Faulty/Count-v0?policy=random&seed=5"

    def test_max_steps_cuts(self) -> None:
        (episode,) = played(COUNT + "&episodes=1&max_steps=2")
        assert (episode.num_steps, episode.metadata.terminated, episode.metadata.truncated) == (2, False, True)
        assert episode.metadata.episode_id == "Faulty/Count-v0/seed=0/random/max_steps=2"
        (whole,) = played(COUNT + "&episodes=1&max_steps=3")
        assert (whole.num_steps, whole.metadata.terminated, whole.metadata.truncated) == (3, True, False)

    def test_roles_decide_what_could_be_two_things(self) -> None:
        source = "rollouts:faulty_environments:Faulty/Stacked-v0?policy=random&episodes=1"
        with pytest.raises(SourceError, match=r"Faulty/Stacked-v0: observation/eye: uint8\[32, 32, 4\].*:ROLE, where"):
            open_source(source).specs()
        opened = open_source(f"{source}&roles=observation/eye:frames&resize=16x16")
        task = "Faulty/Stacked-v0/roles=observation/eye:frames/resize=16x16"
        assert list(opened.specs()) == [task]
        assert opened.reasons()[task]["observation/eye/3"].startswith("chosen: frames, 4 along axis -1")
        assert opened.reasons()[task]["observation/w~1pos"].endswith("is real numbers")
        (episode,) = played(f"{source}&roles=observation/eye:frames&resize=16x16")
        eyes = episode.observations["eye"]
        assert [eyes[str(i)][:, 0, 0].tolist() for i in range(4)] == [[10 + i, 20 + i] for i in range(4)]
        assert episode.observations["w/pos"].tolist() == [[1.0], [2.0]] and set(episode.actions) == {"a/b"}
        assert episode.metadata.task == task

    def test_a_masked_observation_is_a_reject(self) -> None:
        source = "rollouts:faulty_environments:Faulty/Stacked-v0?policy=random&episodes=1&masked=true"
        (reject,) = played(f"{source}&roles=observation/eye:rgba")
        assert isinstance(reject, Reject) and "value at index [0] is masked" in str(reject)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("roles=observation/eye", "option roles=observation/eye must be PATH:ROLE"),
            ("roles=observation/eye:frames&resize=17x16", "option resize must be"),
            ("roles=observation/ear:frames", "a role was chosen for observation/ear, but the fields are"),
        ],
    )
    def test_a_role_that_cannot_be_is_refused(self, options: str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            open_source(f"rollouts:faulty_environments:Faulty/Stacked-v0?policy=random&{options}").specs()

    def test_tuples_are_numbered_fields(self) -> None:
        (episode,) = played("rollouts:faulty_environments:Faulty/Global-v0?policy=random&episodes=1")
        paths = ["observation/0", "observation/1/text", "observation/2", "action/0", "action/1"]
        assert list(episode.fields) == paths and set(episode.observations) == {"0", "1", "2"}

    @pytest.mark.parametrize(
        "source", ["BabyAI-GoToLocal-v0?image=rgb", "BabyAI-GoToLocal-v0?policy=random", "CartPole-v1?policy=random"]
    )
    @pytest.mark.filterwarnings("ignore::DeprecationWarning:pygame.*")
    def test_played_again_by_hand_gives_the_same(self, source: str) -> None:
        """An independent oracle: an environment of this process is given the recorded actions. (Not with Box2D, whose
        import crashes if warnings are errors.)"""
        import minigrid.wrappers

        (episode,) = played(f"rollouts:{source}&episodes=1&seed=11")
        name = source.partition("?")[0]
        environment = gymnasium.make(name)
        if "rgb" in source:
            environment = minigrid.wrappers.RGBImgPartialObsWrapper(environment, tile_size=8)
        observation, _ = environment.reset(seed=11)
        total = 0.0
        for t in range(episode.num_steps):
            fields = observation if isinstance(observation, dict) else {"": observation}
            for key, value in fields.items():
                np.testing.assert_array_equal(episode.fields[f"observation/{key}".rstrip("/")][t], value)
            observation, reward, terminated, truncated, _ = environment.step(episode.actions[t])
            total += float(reward)
        environment.close()
        assert (total, terminated, truncated) == (
            episode.metadata.return_,
            episode.metadata.terminated,
            episode.metadata.truncated,
        )


class TestFamilies:
    def test_babyai_grid(self) -> None:
        source = open_source("rollouts:BabyAI-GoToLocal-v0?episodes=3")
        spec = source.specs()["BabyAI-GoToLocal-v0"]
        assert spec.observation["image"] == DiscreteSpec(256, (7, 7, 3)) and spec.action == DiscreteSpec(7)
        assert isinstance(spec.observation["mission"], TextSpec)
        for episode in played(source.source):
            named = episode.metadata
            assert (named.domain, named.agent_id, named.success) == ("BabyAI", "BabyAIBot", 1)
            assert named.return_ > 0 and named.terminated
            assert episode.observations["mission"] == [named.instruction] * episode.num_steps
        (inputs,) = source.inputs()
        assert set(inputs["versions"]) == {"gymnasium", "minigrid", "numpy"}

    def test_babyai_cells_are_one_value_each(self) -> None:
        """The episodes are those of the grid, in fewer tokens: 49 cells, direction, mission, separator, action."""
        (episode,) = played("rollouts:BabyAI-GoToLocal-v0?episodes=1&image=cells&seed=3")
        (symbolic,) = played("rollouts:BabyAI-GoToLocal-v0?episodes=1&seed=3")
        assert episode.metadata.task == "BabyAI-GoToLocal-v0-cells"
        assert episode.spec.observation["image"] == DiscreteSpec(264, (7, 7))
        cells, state = np.divmod(episode.observations["image"], 4)
        assert np.array_equal(np.stack([*np.divmod(cells, 6), state], axis=-1), symbolic.observations["image"])
        assert np.array_equal(episode.actions, symbolic.actions)
        sequence = EpisodeTokenizer(episode.spec).encode(episode)
        pieces = len(TextTokenizer().encode(episode.metadata.instruction))
        assert len(sequence) == episode.num_steps * (49 + 1 + pieces + 1 + 1)

    def test_babyai_pictures_are_another_task(self) -> None:
        (episode,) = played("rollouts:BabyAI-GoToLocal-v0?episodes=1&image=rgb")
        assert episode.metadata.task == "BabyAI-GoToLocal-v0-rgb"
        assert episode.spec.observation["image"] == ImageSpec((56, 56, 3))
        assert len(np.unique(episode.observations["image"])) > 3  # drawn, not black

    @pytest.mark.parametrize(
        "source, task, action",
        [
            ("LunarLander-v3?seed=1", "LunarLander-v3", DiscreteSpec(4)),
            ("LunarLander-v3?seed=1&continuous=true", "LunarLander-v3/continuous=true", ContinuousSpec(2)),
            ("LunarLanderContinuous-v3?seed=1", "LunarLanderContinuous-v3", ContinuousSpec(2)),
        ],
    )
    def test_lunar_lander(self, source: str, task: str, action: Any) -> None:
        (episode,) = played(f"rollouts:{source}&episodes=1")
        named = episode.metadata
        assert (named.domain, named.task, named.agent_id) == ("Box2D", task, "gymnasium.lunar_lander.heuristic")
        assert set(open_source(f"rollouts:{source}&episodes=1").inputs()[0]["versions"]) == {
            "Box2D",
            "gymnasium",
            "numpy",
        }
        assert episode.spec.action == action
        assert named.success == int(named.return_ >= 200) == 1

    def test_metaworld(self) -> None:
        source = "rollouts:Meta-World/MT1?env_name=reach-v3&episodes=2"
        one, two = played(source)
        for episode in (one, two):
            named = episode.metadata
            assert (named.domain, named.task) == ("Meta-World", "Meta-World/MT1/reach-v3")
            assert (named.agent_id, named.success) == ("metaworld.SawyerReachV3Policy", 1)
            assert (episode.num_steps, named.terminated, named.truncated) == (500, False, True)  # success goes on
            assert episode.observations.shape == (500, 39) and np.abs(episode.actions).max() <= 1
            assert (
                episode.notes["action values beyond their bounds, played at the bound"]
                >= np.sum(episode.actions == 1)
                > 0
            )
        assert not np.array_equal(one.observations[0, -3:], two.observations[0, -3:])  # another goal
        assert set(open_source(source).inputs()[0]["versions"]) == {"gymnasium", "metaworld", "mujoco", "numpy"}

    def test_the_expert_beats_chance(self) -> None:
        rates = {}
        for policy in ("expert", "random"):
            episodes = played(f"rollouts:BabyAI-GoToLocal-v0?episodes=20&policy={policy}")
            rates[policy] = np.mean([episode.metadata.success for episode in episodes])
        assert rates["expert"] == 1.0 and 0 < rates["random"] < 0.7


@pytest.mark.parametrize(
    "source, i",
    [
        ("rollouts:BabyAI-GoToLocal-v0?image=rgb", 7),
        ("rollouts:BabyAI-GoToLocal-v0?policy=random", 7),
        ("rollouts:LunarLander-v3?continuous=true", 3),
        ("rollouts:Meta-World/MT1?env_name=push-v3&max_steps=80", 3),
        ("rollouts:faulty_environments:Faulty/Global-v0?policy=random", 7),
    ],
)
def test_an_episode_depends_on_its_seed_alone(source: str, i: int) -> None:
    joint = "&" if "?" in source else "?"
    after_others = played(f"{source}{joint}episodes=100", 0, i + 1)[i]
    (alone,) = played(f"{source}{joint}episodes=100", i, 1)
    assert_same(alone, after_others)
    (shifted,) = played(f"{source}{joint}episodes=100&seed={i}", 0, 1)
    assert shifted.metadata.episode_id == alone.metadata.episode_id
    np.testing.assert_array_equal(list(shifted.fields.values())[0], list(alone.fields.values())[0])


class TestFaults:
    @pytest.mark.parametrize(
        "fault, exception, message",
        [
            ("loop", "TimeoutError", "no end after 1 s: Faulty/Count-v0/fault=loop/seed=1/random"),
            ("native", "TimeoutError", "no end after 1 s: "),
            ("raise", "KeyError", "'a lost key'"),
            ("unpicklable", "RuntimeError", "OwnError: half and half"),
            ("system-exit", "RuntimeError", "SystemExit: 0"),
            ("exit0", "ChildProcessError", "exit code 0: "),
            ("exit3", "ChildProcessError", "exit code 3: "),
            ("segfault", "ChildProcessError", "SIGSEGV: "),
        ],
    )
    def test_costs_its_episode_alone(self, fault: str, exception: str, message: str) -> None:
        results = played(f"{COUNT}&fault={fault}&episodes=4&time_limit=1")
        assert [type(result) for result in results] == [Episode, Reject, Episode, Episode]
        reject = results[1]
        assert (reject.exception, reject.source_index) == (exception, 1)
        assert message in reject.message
        clean = played(f"{COUNT}&episodes=4")
        for i in (0, 2, 3):
            np.testing.assert_array_equal(results[i].observations, clean[i].observations)

    def test_of_the_expert(self) -> None:
        """The level's agent starts with an object in its hands, which the bot does not know."""
        results = played("rollouts:BabyAI-PutNextS5N2Carrying-v0?episodes=2")
        assert [result.exception for result in results] == ["AssertionError"] * 2

    def test_nothing_is_printed(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert len(played(f"{COUNT}&fault=print&episodes=2")) == 2
        assert capfd.readouterr().out == ""

    def test_an_environment_that_dies_when_made_is_no_source(self) -> None:
        with pytest.raises(SourceError, match="Faulty/Broken-v0.*exit code 4"):
            open_source("rollouts:faulty_environments:Faulty/Broken-v0?policy=random").specs()


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    """End the processes of earlier tests before the test, and its own after it."""
    _end_the_idle()
    yield
    _end_the_idle()


def _end_the_idle() -> None:
    for child in player._idle.values():
        child.close()
    player._idle.clear()


@pytest.mark.usefixtures("nothing_kept")
class TestLife:
    def test_a_closed_iterator_leaves_no_child(self) -> None:
        candidates = open_source(COUNT).candidates({"first": 0, "count": 3})
        next(candidates).load()
        assert _children()
        candidates.close()  # type: ignore[attr-defined]
        assert not _children()

    def test_single_episodes_are_played_by_one_process_that_plays_no_others(self) -> None:
        """A retry asks only for the rejects of a partition. Here it would hang if later episodes were played, too."""
        pids = []
        for candidate in open_source(f"{COUNT}&fault=loop&bad=2").candidates({"first": 0, "count": 9}):
            if candidate.source_index in (1, 3, 7):
                assert candidate.load().metadata.source_index == candidate.source_index
                pids += _children()
        assert len(pids) == 3 and len(set(pids)) == 1

    def test_an_iterator_that_ends_before_its_episodes_leaves_no_child(self) -> None:
        for candidate in open_source(COUNT).candidates({"first": 0, "count": 4}):
            if candidate.source_index < 2:  # after the second in order, the later ones are played ahead
                candidate.load()
        assert not _children()

    def test_a_candidate_is_loaded_after_the_others(self) -> None:
        kept = list(open_source(COUNT).candidates({"first": 0, "count": 3}))
        assert kept[2].load().metadata.source_index == 2
        assert not _children()

    def test_candidates_are_loaded_in_any_order_and_again(self) -> None:
        in_order = played(COUNT + "&episodes=4")
        candidates = open_source(COUNT).candidates({"first": 0, "count": 4})
        four = [next(candidates) for _ in range(4)]
        for i in (2, 0, 1, 1, 3):
            assert_same(four[i].load(), in_order[i])

    def test_the_process_is_kept_for_the_next_partition_of_its_rollout(self) -> None:
        played(COUNT, 0, 2)
        (first,) = _children()
        played(COUNT, 2, 2)
        assert _children() == [first]
        played(COUNT + "&max_steps=2", 0, 1)
        two = _children()
        assert len(two) == 2 and first in two
        played(COUNT + "&max_steps=1", 0, 1)
        three = _children()
        assert len(three) == 2 and first not in three  # the one used longest ago makes room
        played(COUNT + "&max_steps=2", 0, 1)
        assert sorted(_children()) == sorted(three)

    def test_it_is_not_kept_forever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipelines.sources.rollouts.player.MOST_EPISODES", 3)
        played(COUNT, 0, 2)
        (first,) = _children()
        played(COUNT, 2, 1)
        assert not _children() and first

    def test_two_partitions_at_once_have_a_process_each(self) -> None:
        one, two = (open_source(COUNT).candidates({"first": i, "count": 2}) for i in (0, 2))
        loaded = [next(source).load() for source in (one, two, one, two)]
        assert [episode.metadata.source_index for episode in loaded] == [0, 2, 1, 3]
        assert len(_children()) == 2
        assert not list(one) and not list(two)
        assert len(_children()) == 1

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_process_leaves_those_of_its_parent_alone(self) -> None:
        played(COUNT, 0, 2)
        (first,) = _children()
        pid = os.fork()
        if pid == 0:
            os._exit(7 if not player._idle else 8)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        played(COUNT, 2, 2)
        assert _children() == [first]

    def test_in_a_thread(self) -> None:
        results: list[Any] = []
        source = f"{COUNT}&fault=loop&episodes=3&time_limit=1"
        thread = threading.Thread(target=lambda: results.extend(played(source)))
        thread.start()
        thread.join()
        assert [type(result) for result in results] == [Episode, Reject, Episode]


def _children() -> list[int]:
    """The child processes of this one, without the tracker and the server that multiprocessing keeps until the end."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z" and not re.search("resource_tracker|forkserver", command):
            found.append(int(folder.name))
    return found


class TestOptions:
    @pytest.mark.parametrize(
        "source, message",
        [
            ("rollouts:", "needs an environment"),
            ("rollouts:LunarLander-v3?episodes=0", "episodes=0 must be at least 1"),
            ("rollouts:LunarLander-v3?episodes=many", "episodes=many must be a whole number"),
            ("rollouts:LunarLander-v3?seed=-1", "seed=-1 must be at least 0"),
            ("rollouts:LunarLander-v3?max_steps=-1", "max_steps=-1 must be at least 0"),
            ("rollouts:LunarLander-v3?time_limit=0", "time_limit=0 must be a number of seconds above 0"),
            ("rollouts:LunarLander-v3?time_limit=nan", "time_limit=nan must be"),
            ("rollouts:LunarLander-v3?policy=best", "policy=best must be expert, random, or MODULE:FUNCTION"),
            ("rollouts:LunarLander-v3?image=rgb", "image=rgb is for MiniGrid and BabyAI"),
            ("rollouts:BabyAI-GoToLocal-v0?image=jpeg", "image=jpeg must be symbolic, cells or rgb"),
        ],
    )
    def test_bad_values_are_refused_when_opened(self, source: str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            open_source(source)

    @pytest.mark.parametrize(
        "source, message",
        [
            ("rollouts:BabyAI-GoToLocl-v0", "'BabyAI-GoToLocl-v0'.*BabyAI-GoToLocal-v0"),
            ("rollouts:LunarLander-v2", "'LunarLander-v2'.*LunarLander-v3"),
            ("rollouts:LunarLander", "LunarLander-v3 today.*write the version"),
            ("rollouts:no_such_module:Any-v0", "Any-v0 needs a package.*no_such_module"),
            ("rollouts:CartPole-v1", r"no expert plays CartPole-v1.*BabyAI-\*.*Meta-World/MT1\*.*policy=random"),
            ("rollouts:LunarLander-v3?gravty=-5", "LunarLander-v3.*'gravty'"),
            ("rollouts:Meta-World/MT1?env_name=fly-v3", 'Meta-World/MT1.*"env_name":"fly-v3"'),
            ("rollouts:Blackjack-v1?policy=random&sab=1&natural=1&extra=1", "Blackjack-v1.*'extra'"),
        ],
    )
    def test_what_cannot_be_played_is_refused_when_planned(self, source: str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            open_source(source).partitions()

    def test_others_are_json_or_text_and_reach_the_environment(self) -> None:
        source = open_source("rollouts:BabyAI-GoToLocal-v0?agent_view_size=5&render_mode=rgb_array")
        assert list(source.specs()) == ["BabyAI-GoToLocal-v0/agent_view_size=5/render_mode=rgb_array"]
        assert source.specs()[source.task].observation["image"].shape == (5, 5, 3)  # type: ignore[attr-defined]

    def test_what_changes_an_episode_changes_its_id(self) -> None:
        base = "rollouts:BabyAI-GoToLocal-v0?"
        changes = [
            "",
            "image=rgb",
            "image=cells",
            "policy=random",
            "seed=1",
            "max_steps=3",
            "stop=success",
            "room_size=6",
            "max_episode_steps=9",
        ]
        assert len({_first_id(base + change) for change in changes}) == len(changes)
        same = ["image=symbolic", "episodes=7", "time_limit=9", "policy=expert"]
        assert {_first_id(base + change) for change in same} == {_first_id("rollouts:BabyAI-GoToLocal-v0")}

    def test_partitions_depend_on_the_episodes_and_the_size_of_a_shard_alone(self) -> None:
        def sizes(episodes: int, limit: int | None = None, shard: int = 100 * 2**20, more: str = "") -> list[int]:
            source = open_source(f"rollouts:BabyAI-GoToLocal-v0?episodes={episodes}{more}")
            works = limited_works(source, limit, shard)
            parts = [work.partition for work in works]
            assert [part["first"] for part in parts] == np.cumsum([0, *(part["count"] for part in parts)])[:-1].tolist()
            return [work.limit or work.partition["count"] for work in works]

        assert sizes(3) == [3]
        assert sizes(60) == [20, 20, 20]
        assert sizes(201) == [26] * 7 + [19]
        assert sizes(3_000) == [375] * 8
        assert 20 < len(sizes(200_000)) < 100
        assert len(sizes(200_000, shard=2**20)) == pytest.approx(100 * len(sizes(200_000)), rel=0.1)
        assert len(sizes(200_000, more="&max_steps=8")) == 8
        assert len(sizes(200_000, more="&image=rgb")) > 4 * len(sizes(200_000))
        assert sizes(60, limit=30) == [20, 10]
        assert sizes(60, limit=0) == []

    def test_nothing_is_imported_by_the_source_itself(self) -> None:
        """The simulators live in the child: a Beam worker stays small, and OpenGL never meets TensorFlow."""
        code = (
            "import sys, json; from pipelines.sources import open_source;"
            "open_source('rollouts:Meta-World/MT1?env_name=reach-v3').partitions();"
            "print(json.dumps(sorted({'tensorflow', 'mujoco', 'metaworld', 'minigrid', 'pygame'} & set(sys.modules))))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr


def _first_id(source: str) -> str:
    opened: Source = open_source(source)
    return next(opened.candidates({"first": 0, "count": 1})).episode_id

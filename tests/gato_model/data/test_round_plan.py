from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from gato_model.data.episode_table import EpisodeTable
from gato_model.data.round_plan import DOCUMENT, SAMPLE, STEPS, DrawTable, PlannedWindow, RoundShape, plan_round

LENGTH = 100


def draw_table(tokens: list[int], style: int = DOCUMENT, groups: list[int] | None = None, step: int = 10) -> DrawTable:
    """One-record episodes of `tokens` tokens each, of one task; groups: the agent of each."""
    count = len(tokens)
    groups = groups or [0] * count
    columns = {"tokens": tokens, "steps": [max(1, size // step) for size in tokens], "task": [0] * count}
    columns |= {"group": groups, "episode": list(range(count)), "bytes": tokens, "offset": tokens, "record": tokens}
    agents = tuple(("task", f"agent {number}") for number in range(max(groups) + 1))
    arrays = {name: np.array(column, np.int64) for name, column in columns.items()}
    table = EpisodeTable((Path("shard"),), ("task",), agents, arrays, np.full(count, np.nan))
    return DrawTable.of(table, np.array([style], np.uint8), LENGTH)


def plan(
    tables: list[DrawTable], weights: list[float] | None = None, rows: int = 128, number: int = 0, **options: float
):
    weights = weights or [1 / len(tables)] * len(tables)
    shape = RoundShape(1, rows, LENGTH)
    return plan_round(tables, np.array(weights), shape, options.get("prompt_share", 0.25), 7, number)


def by_row(windows: list[PlannedWindow]) -> dict[int, list[PlannedWindow]]:
    rows = defaultdict(list)
    for window in windows:
        rows[window.row].append(window)
    return rows


def test_a_row_by_hand() -> None:
    """Documents of 40 tokens fill a row of 100 as 40, 40 and the 20 that are left."""
    shares, windows = plan([draw_table([40] * 9)], rows=1)
    assert shares.tolist() == [0]
    assert [(window.row, window.segment, window.room) for window in windows] == [(0, 1, 40), (0, 2, 40), (0, 3, 20)]
    assert len({window.record for window in windows}) == 3


def test_the_same_arguments_give_the_same_plan() -> None:
    one, two, other = (plan([draw_table([40, 70, 900])], number=number)[1] for number in (3, 3, 4))
    assert one == two != other


def test_rows_are_never_overfull_and_segments_count_up() -> None:
    _, windows = plan([draw_table([5, 33, 90, 250, 1000], STEPS), draw_table([20, 30], SAMPLE), draw_table([7, 300])])
    for row in by_row(windows).values():
        assert sum(window.room for window in row) <= LENGTH
        segments = [window.segment for window in row]
        assert segments[0] == 1 and all(b - a in (0, 1) for a, b in zip(segments, segments[1:], strict=False))
    assert set(by_row(windows)) == set(range(128))


def test_windows_of_a_long_record_go_to_different_rows() -> None:
    """A record of 10 rows' lengths serves five rows, each with a window of a fifth part of its own."""
    _, windows = plan([draw_table([1000] * 50)], rows=100)
    rows = by_row(windows)
    assert all(len(row) == 1 for row in rows.values())
    uses = Counter(window.record for window in windows)
    assert sum(uses.values()) == 100 and len(uses) <= 20
    places = sorted(window.place for window in windows if window.record == windows[0].record)
    assert {int(place * 5) for place in places} == set(range(5))


@pytest.mark.parametrize("tokens", [[1000, *[50] * 20], [150] * 3 + [400] * 3 + [20] * 30])
def test_tokens_are_drawn_in_proportion(tokens: list[int]) -> None:
    used: Counter[int] = Counter()
    for number in range(400):
        for window in plan([draw_table(tokens)], rows=16, number=number)[1]:
            used[tokens[window.record]] += window.room
    total, all_tokens = sum(used.values()), sum(tokens)
    for size in set(tokens):
        expected = size * tokens.count(size) / all_tokens
        assert abs(used[size] / total - expected) < 0.06, size


def test_prompts_come_from_others_of_the_group() -> None:
    agents = [0] * 6 + [1] * 6 + [2]
    of = draw_table([30] * 13, STEPS, agents)
    seen: Counter[str] = Counter()
    for number in range(40):
        windows = plan([of], number=number)[1]
        for row in by_row(windows).values():
            first = [window for window in row if window.segment == 1]
            seen["sequences"] += agents[first[-1].record] != 2
            if len(first) == 2:
                prompt, sequence = first
                assert agents[prompt.record] == agents[sequence.record] and prompt.record != sequence.record
                seen["prompts"] += 1
                seen["ends"] += prompt.place == 1.0
                seen[f"prompt {prompt.record}"] += 1
    assert 0.23 < seen["prompts"] / seen["sequences"] < 0.27
    assert 0.45 < seen["ends"] / seen["prompts"] < 0.55
    each = [seen[f"prompt {record}"] for record in range(12)]
    assert min(each) > 0.7 * np.mean(each) and seen["prompt 12"] == 0  # alone in its group: it has no prompt


def test_a_prompt_and_its_sequence_share_the_room() -> None:
    """Long episodes get half each; a short sequence leaves the prompt what it does not need."""
    windows = plan([draw_table([1000] * 9, STEPS)], prompt_share=1.0)[1]
    assert {window.room for window in windows} == {50}
    windows = plan([draw_table([20] * 9, STEPS)], rows=1, prompt_share=1.0)[1]
    assert [(window.segment, window.room) for window in windows] == [
        (1, 20),
        (1, 20),
        (2, 20),
        (2, 20),
        (3, 10),
        (3, 10),
    ]
    windows = plan([draw_table([1000] * 9, STEPS, step=60)], prompt_share=1.0)[1]
    assert all(len(row) == 1 for row in by_row(windows).values())  # two timesteps of 60 have no room: no prompt


def test_documents_and_samples_have_no_prompts() -> None:
    for style in (DOCUMENT, SAMPLE):
        windows = plan([draw_table([10] * 50, style)], rows=4, prompt_share=1.0)[1]
        sizes = {
            len([p for p in windows if (p.row, p.segment) == key]) for key in {(p.row, p.segment) for p in windows}
        }
        assert sizes == {1 if style == DOCUMENT else 5}


def test_samples_are_cropped_at_their_end() -> None:
    windows = plan([draw_table([30] * 9, SAMPLE)], rows=1)[1]
    assert [(window.segment, window.room, window.place) for window in windows] == [(1, 30, 0.0)] * 3 + [(1, 10, 0.0)]
    windows = plan([draw_table([130] * 9, SAMPLE)], rows=1)[1]
    assert [window.room for window in windows] == [100]


def test_shares_of_a_batch_by_hand() -> None:
    shares, windows = plan([draw_table([10]), draw_table([20]), draw_table([30])], [0.5, 0.25, 0.25], rows=8)
    assert np.bincount(shares).tolist() == [4, 2, 2]
    assert all(window.share == shares[window.row] for window in windows)


def test_a_mixture_within_a_share() -> None:
    """A folder may hold everything; a row then holds what is drawn, each in its own way."""
    tokens, task = [40, 40, 25, 25, 300], [0, 0, 1, 1, 2]
    columns = {"tokens": tokens, "steps": [4, 4, 1, 1, 1], "task": task, "group": task, "episode": [0, 1, 2, 3, 4]}
    arrays = {name: np.array(column, np.int64) for name, column in columns.items()}
    names = ("agent", "caption", "text")
    table = EpisodeTable((), names, tuple((name, "") for name in names), arrays, np.full(5, np.nan))
    of = DrawTable.of(table, np.array([STEPS, SAMPLE, DOCUMENT], np.uint8), LENGTH)
    used: Counter[int] = Counter()
    for number in range(200):
        for window in plan([of], rows=32, number=number)[1]:
            used[task[window.record]] += window.room
    total = sum(used.values())
    for number, expected in enumerate((80, 50, 300)):
        assert abs(used[number] / total - expected / 430) < 0.06

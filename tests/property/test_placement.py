"""Whatever was held before, every partition is held once, and its copies are elsewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from barstream.runtime.placement import HeldTicks, place


@st.composite
def holdings(draw: st.DrawFn) -> tuple[dict[str, HeldTicks], int, int]:
    """What workers claim to have held: also twice, too much, or nothing."""
    partitions = draw(st.integers(1, 24))
    some = st.sets(st.integers(0, partitions - 1))
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
    before: dict[str, HeldTicks] = {}
    for name in names:
        actives = draw(some)
        before[name] = HeldTicks(actives, draw(some) - actives)
    return before, partitions, draw(st.integers(0, 3))


def settled(workers: int, partitions: int, replicas: int) -> dict[str, HeldTicks]:
    names = "abcdefgh"[:workers]
    return place({name: HeldTicks() for name in names}, partitions, replicas)


@given(holdings())
def test_each_partition_is_held_once_evenly_and_its_copies_are_elsewhere(
    case: tuple[dict[str, HeldTicks], int, int],
) -> None:
    before, partitions, replicas = case
    held = place(before, partitions, replicas)
    actives = [partition for each in held.values() for partition in each.actives]
    assert sorted(actives) == list(range(partitions))
    counts = [len(each.actives) for each in held.values()]
    assert max(counts) - min(counts) <= 1
    for partition in range(partitions):
        copies = [name for name, each in held.items() if partition in each.standbys]
        assert len(copies) == min(replicas, len(held) - 1)
        assert all(partition not in held[name].actives for name in copies)


@given(holdings())
def test_who_holds_its_share_keeps_it(case: tuple[dict[str, HeldTicks], int, int]) -> None:
    held = place(*case)
    assert place(held, case[1], case[2]) == held


@given(st.integers(2, 8), st.integers(1, 24), st.integers(1, 3), st.data())
def test_a_death_moves_only_what_the_dead_worker_held(
    workers: int, partitions: int, replicas: int, data: st.DataObject
) -> None:
    before = settled(workers, partitions, replicas)
    dead = data.draw(st.sampled_from(sorted(before)))
    left = {name: each for name, each in before.items() if name != dead}
    for name, each in place(left, partitions, replicas).items():
        assert before[name].actives <= each.actives


@given(st.integers(2, 8), st.integers(1, 3), st.data())
def test_of_two_workers_the_other_takes_everything_over_warm(
    partitions: int, replicas: int, data: st.DataObject
) -> None:
    before = settled(2, partitions, replicas)
    left = data.draw(st.sampled_from(sorted(before)))
    lost = set(range(partitions)) - before[left].actives
    assert before[left].standbys == lost
    assert place({left: before[left]}, partitions, replicas)[left] == HeldTicks(
        set(range(partitions))
    )


def test_a_standby_goes_before_a_worker_that_comes_first() -> None:
    """A worker of four is lost; each of the others has room for what it held."""
    before = {"a": HeldTicks({0}, {1}), "b": HeldTicks({1}, {2}), "c": HeldTicks({2}, {3})}
    held = place(before, 4, 1)
    assert held["c"].actives == {2, 3}
    assert (held["a"].actives, held["b"].actives) == ({0}, {1})


def test_a_copy_stays_where_it_is() -> None:
    """It would have to be made anew elsewhere."""
    before = {"a": HeldTicks({0}, {1}), "b": HeldTicks({1}, {2}), "c": HeldTicks({2}, {0})}
    assert place(before, 3, 1) == before


def test_a_worker_that_comes_back_empty_gets_its_share_and_the_loser_keeps_the_copy() -> None:
    held = place({"a": HeldTicks({0, 1, 2, 3}), "b": HeldTicks()}, 4, 1)
    assert len(held["b"].actives) == 2
    assert held["a"].standbys == held["b"].actives


def test_a_worker_that_comes_back_is_given_what_is_on_its_disk() -> None:
    before = {"a": HeldTicks({0, 1}), "b": HeldTicks({2, 3}), "c": HeldTicks(set(), {2})}
    assert place(before, 4, 1)["c"].actives == {2}

"""Which stage comes next: the order of a graph of stages, independent of what a stage is and where it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter


class Schedule:
    """The stages of a graph, and how far they are.

    `upstream` has for each stage those that it waits for, all of them keys. `seconds` is the expected time of a stage.
    Of the stages that are ready, the one with the longest path behind it comes first, so that the run ends early.
    """

    def __init__(self, upstream: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> None:
        self._upstream = {name: upstream[name] for name in TopologicalSorter(upstream).static_order()}
        self._seconds = {name: seconds.get(name, 0.0) for name in self._upstream}
        self._behind = dict(self._seconds)  # the longest path from the start of a stage
        for name, waits_for in reversed(self._upstream.items()):
            for before in waits_for:
                self._behind[before] = max(self._behind[before], self._seconds[before] + self._behind[name])
        self._finished: set[str] = set()
        self.waiting = dict.fromkeys(self._upstream)

    def ready(self) -> list[str]:
        """Returns the stages that can start now, the most urgent first."""
        ready = (name for name in self.waiting if self._finished.issuperset(self._upstream[name]))
        return sorted(ready, key=lambda name: (-self._behind[name], name))

    def start(self, name: str) -> None:
        """Takes a stage out of those that wait."""
        del self.waiting[name]

    def finish(self, name: str) -> None:
        """Notes that a stage has ended well. What waited for it alone becomes ready."""
        self._finished.add(name)

    def drop_after(self, name: str) -> list[str]:
        """Takes out all stages behind one that failed, and returns them."""
        dropped = [each for each in self.behind(name) if each in self.waiting]
        for each in dropped:
            self.start(each)
        return dropped

    def behind(self, name: str) -> list[str]:
        """Returns all stages that depend on this one, directly or not."""
        found = {name: None}
        for each, waits_for in self._upstream.items():
            if not found.keys().isdisjoint(waits_for):
                found[each] = None
        return [*found][1:]

    def seconds_left(self, running: Mapping[str, float], workers: int) -> float:
        """Returns a lower bound of the time to the end. `running` has how long each running stage has run.

        It is the longest path, or the whole work divided by the workers if that is more.
        """
        left = {name: max(0.0, self._seconds[name] - elapsed) for name, elapsed in running.items()}
        paths = [self._behind[name] - self._seconds[name] + rest for name, rest in left.items()]
        paths += [self._behind[name] for name in self.waiting]
        work = sum(left.values()) + sum(self._seconds[name] for name in self.waiting)
        return max([work / workers, *paths], default=0.0)

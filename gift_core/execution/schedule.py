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
        self.order = list(TopologicalSorter(upstream).static_order())
        self.downstream: dict[str, list[str]] = {name: [] for name in self.order}
        for name, before in upstream.items():
            for each in before:
                self.downstream[each].append(name)
        self._seconds = {name: seconds.get(name, 0.0) for name in self.order}
        self._behind: dict[str, float] = {}  # the longest path from the start of a stage
        for name in reversed(self.order):
            after = max((self._behind[each] for each in self.downstream[name]), default=0.0)
            self._behind[name] = self._seconds[name] + after
        self._sorter = TopologicalSorter(upstream)
        self._sorter.prepare()
        self._ready = {*self._sorter.get_ready()}
        self.waiting = dict.fromkeys(self.order)

    def ready(self) -> list[str]:
        """Returns the stages that can start now, the most urgent first."""
        return sorted(self._ready, key=lambda name: (-self._behind[name], name))

    def start(self, name: str) -> None:
        """Takes a stage out of those that wait."""
        self._ready.discard(name)
        del self.waiting[name]

    def finish(self, name: str) -> None:
        """Notes that a stage has ended well. What waited for it alone becomes ready."""
        self._sorter.done(name)
        self._ready |= {*self._sorter.get_ready()}

    def drop_after(self, name: str) -> list[str]:
        """Takes out all stages behind one that failed, and returns them."""
        dropped = [each for each in self.behind(name) if each in self.waiting]
        for each in dropped:
            self.start(each)
        return dropped

    def behind(self, name: str) -> list[str]:
        """Returns all stages that depend on this one, directly or not."""
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            for each in self.downstream[waiting.pop()]:
                if each not in found:
                    found[each] = None
                    waiting.append(each)
        return list(found)

    def longest_path(self) -> tuple[list[str], float]:
        """Returns the path through the graph that takes longest, and its time: no number of workers is faster."""
        path: list[str] = []
        following = self.order
        while following:
            path.append(max(following, key=lambda name: (self._behind[name], name)))
            following = self.downstream[path[-1]]
        return path, self._behind[path[0]] if path else 0.0

    def seconds_left(self, running: Mapping[str, float], workers: int) -> float:
        """Returns a lower bound of the time to the end. `running` has how long each running stage has run.

        It is the longest path, or the whole work divided by the workers if that is more.
        """
        left = {name: max(0.0, self._seconds[name] - elapsed) for name, elapsed in running.items()}
        paths = [self._behind[name] - self._seconds[name] + rest for name, rest in left.items()]
        paths += [self._behind[name] for name in self._ready]
        work = sum(left.values()) + sum(self._seconds[name] for name in self.waiting)
        return max([work / workers, *paths], default=0.0)


def waves(upstream: Mapping[str, Collection[str]], chosen: Collection[str]) -> list[list[str]]:
    """Returns the `chosen` stages in waves: a wave needs those before it, and its stages do not need each other."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(upstream).static_order():
        depth[name] = max((depth[each] for each in upstream[name]), default=0) + (name in chosen)
    found: dict[int, list[str]] = {}
    for name in chosen:
        found.setdefault(depth[name], []).append(name)
    return [sorted(found[each]) for each in sorted(found)]

"""Which stage comes next: the order of a graph of stages, independent of what a stage is and where it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter

import networkx


class Schedule:
    """The stages of a graph, and how far they are.

    `upstream` has for each stage those that it waits for, all of them keys. `seconds` is the expected time of a stage.
    Of the stages that are ready, the one with the longest path behind it comes first, so that the run ends early.
    """

    def __init__(self, upstream: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> None:
        self.order = list(TopologicalSorter(upstream).static_order())
        self._graph = networkx.DiGraph((before, name) for name in self.order for before in upstream[name])
        self._graph.add_nodes_from(self.order)
        self._seconds = {name: seconds.get(name, 0.0) for name in self.order}
        self._behind: dict[str, float] = {}  # the longest path from the start of a stage
        for name in reversed(self.order):
            after = max((self._behind[each] for each in self._graph[name]), default=0.0)
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
        found = networkx.descendants(self._graph, name)
        return [each for each in self.order if each in found]

    def seconds_left(self, running: Mapping[str, float], workers: int) -> float:
        """Returns a lower bound of the time to the end. `running` has how long each running stage has run.

        It is the longest path, or the whole work divided by the workers if that is more.
        """
        left = {name: max(0.0, self._seconds[name] - elapsed) for name, elapsed in running.items()}
        paths = [self._behind[name] - self._seconds[name] + rest for name, rest in left.items()]
        paths += [self._behind[name] for name in self._ready]
        work = sum(left.values()) + sum(self._seconds[name] for name in self.waiting)
        return max([work / workers, *paths], default=0.0)

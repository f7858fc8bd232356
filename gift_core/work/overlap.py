"""Keeps a GPU busy: threads prepare what it needs next, and finish what it has computed.

Where the device is the CPU nothing is made ahead, because the threads would compete with the computation for its cores
(docs/decisions/0051). Overlap changes no result: the order of the items and of the calls stays the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

DECODERS = min(8, os.cpu_count() or 1)  # threads, with an image each
T = TypeVar("T")
M = TypeVar("M")


@contextmanager
def background(threads: int) -> Iterator[Executor]:
    """Yields threads. The block ends when their calls have ended. Those that have not begun are cancelled."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="background")
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def in_order(function: Callable[[T], M], items: Iterable[T]) -> Iterator[M]:
    """Yields function(item) of each item, in their order. Threads compute ahead, and end with the last item.

    They suffice for images: Pillow decodes and resizes without holding Python's lock.
    """
    waiting: deque[Future[M]] = deque()
    with background(DECODERS) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * DECODERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def overlapped(
    items: Iterable[T], make: Callable[[T], M], finish: Callable[[T, M], bool], *, thread: Executor, ahead: int
) -> Iterator[T]:
    """Yields the items when they are finished, in their order. Meanwhile the next ones are made.

    `make` runs in the calling thread and `thread` calls finish(item, made) for one item after another. Where `finish`
    returns False, the item is made again, before a later one is finished, and the later ones that were made already are
    finished after it: the results are those without overlap. At most `ahead` made items wait for `finish`, whose error
    is raised where its item would be yielded.
    """
    waiting: deque[tuple[T, M, Future[bool]]] = deque()

    def submit(item: T, made: M) -> None:
        earlier = [finished for _, _, finished in waiting]
        # behind an item that has to be made again nothing is finished: `settled` submits it once more
        finished = thread.submit(lambda: all(future.result() for future in earlier) and finish(item, made))
        waiting.append((item, made, finished))

    def settled(most: int) -> Iterator[T]:
        while waiting and (len(waiting) > most or waiting[0][2].done()):
            item, _, finished = waiting.popleft()
            if finished.result():
                yield item
                continue
            later = list(waiting)
            waiting.clear()
            submit(item, make(item))
            for later_item, made, _ in later:
                submit(later_item, made)

    for item in items:
        yield from settled(ahead)
        submit(item, make(item))
    yield from settled(0)


def prefetched(items: Iterable[T], *, device: torch.device) -> Generator[T, None, None]:
    """Yields `items`. A thread makes the next one meanwhile, and copies its tensors to `device` in a stream of its own.

    On the CPU there is no thread. At most two items exist, besides those that the caller keeps. An error in making an
    item is raised where the item would be yielded. The caller computes with an item before it asks for the next one.
    The thread ends when the generator is closed, after the item that it is making: use contextlib.closing where the
    loop may not run to its end.
    """
    if device.type == "cpu":
        yield from items
        return
    source = iter(items)
    end = object()
    copies = Copies(device)

    def make(free: Any) -> tuple[Any, Any]:
        with copies.stream():
            copies.wait(free)
            return next(source, end), copies.mark()

    with background(1) as pool:
        upcoming = pool.submit(make, None)
        while True:
            item, ready = upcoming.result()
            if item is end:
                return
            # the memory of the item before is used again only when the computation queued so far has read it
            upcoming = pool.submit(make, copies.mark())
            copies.wait(ready)
            yield item


class Copies:
    """A second CUDA stream for the copies and computations of a thread. On other devices nothing happens.

    In the stream of the computation they would wait until everything that is queued there has been computed.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda: Any = None
        if device.type == "cuda":
            import torch

            self._cuda, self._stream = torch.cuda, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def stream(self) -> AbstractContextManager[Any]:
        """Returns a context in which this thread uses the second stream."""
        return nullcontext() if self._cuda is None else self._cuda.stream(self._stream)

    def mark(self) -> Any:
        """Returns a mark after what has been queued so far in the current stream of this thread."""
        return None if self._cuda is None else self._cuda.current_stream(self._stream.device).record_event()

    def wait(self, mark: Any) -> None:
        """Lets what is queued next in the current stream of this thread wait for `mark`. The thread itself goes on."""
        if mark is not None:
            self._cuda.current_stream(self._stream.device).wait_event(mark)


def copied_to_cpu(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Queues a copy of `tensor` to the CPU, behind its computation; returns a function that waits for it.

    Any thread may call the function. Computations that are queued later do not delay the copy. Only CUDA copies
    beside the computation; elsewhere the function copies.
    """
    if tensor.device.type != "cuda":
        return tensor.cpu
    import torch

    copy = tensor.to("cpu", non_blocking=True)  # into pinned memory
    done = torch.cuda.current_stream(tensor.device).record_event()

    def wait() -> torch.Tensor:
        done.synchronize()
        return copy

    return wait

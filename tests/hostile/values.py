"""Values that differ in kind, as they are written in YAML, and what has to become of them."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterable

from gift_core.errors import GiftError

SECONDS, MEGABYTES, LONGEST_MESSAGE = 5.0, 400.0, 20_000
TEXTS = [
    "", "../..", "/etc/passwd", "a{b,c}d*", "${seed}", "a; touch pwned ;", "a\nb", "\x1b[31m", "\u202eevil",
    "x" * 100_000, "{:>999999999}", "{.__class__}", "local-dir:", "cuda:99999999999999999999",
]  # fmt: skip
VALUES = [
    *map(json.dumps, TEXTS), "0", "-1", "0.5", "1.0e+300", "1.0e-320", "9" * 5000, "null", "true", "[]", "{}",
    '[null, "a"]', '{"kind": []}', '"\\ud800"', "[" * 2000 + "]" * 2000,
]  # fmt: skip
YAML_VALUES = [
    *VALUES, "010", ".nan", "yes", "2024-01-01", "!!binary aGk=", "!!int '5'", "!replace {}", "*undefined", "&a [*a]",
    '!!python/object/apply:os.system ["touch pwned"]', "{a: 1, a: 2}", "{? [a] : b}", "@",
]  # fmt: skip
_LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
YAML_FILES: dict[str, bytes] = {
    "empty": b"", "a list": b"- a\n- b\n", "NUL": b"seed: 1\x00\n", "UTF-16": "seed: 1\n".encode("utf-16"),
    "two documents": b"a: 1\n---\nb: 2\n", "a tab": b"run:\n\tdevice: cpu\n", "an open quote": b'a: "b\n',
    "billion laughs": _LAUGHS.encode(), "an alias of itself": b"a: &a\n  b: *a\n", "deep lists": b"[" * 100_000,
    "deep dashes": b"- " * 100_000, "many keys": "".join(f"k{i}: 1\n" for i in range(30_000)).encode(),
    "many anchors": b"&a " * 100_000, "a long number": b"seed: " + b"9" * 400_000, "huge": b"#" * 3_000_000,
}  # fmt: skip


def faults(cases: Iterable[tuple[str, Callable[[], object]]], lacks: Callable[[str], str]) -> list[str]:
    """Runs the cases. Each is accepted, or refused with one message for people, within a time and a memory.

    Returns a line for each refusal that is not so; `lacks` says what a message lacks. All other errors are raised.
    """
    found, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, run in cases:
        started, message = time.process_time(), ""
        try:
            run()
        except GiftError as error:
            message = str(error)
        except BaseException as error:
            raise AssertionError(name[:200]) from error
        fault = lacks(message) if message else ""
        if fault or len(message) > LONGEST_MESSAGE or time.process_time() - started > SECONDS:
            found.append(f"{name[:200]}: {fault or 'too long'}")
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEGABYTES * 1024:
        found.append(f"more than {MEGABYTES} MB")
    return found

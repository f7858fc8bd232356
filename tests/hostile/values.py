"""Invalid and extreme values, as they are written in a YAML or a JSON file."""
# ruff: noqa: E501 - in a table, a case is a line

from __future__ import annotations

import json

_TEXTS = [
    "", "   ", ".", "..", "../..", "/etc/passwd", "~/x", "C:\\x", "-rf", ".hidden", "con", "a/../../b", "data", "data/5_models/x",
    "data/0_raw/x y", "a{b,c}d*", "a?[b]", "%s%n", "s3://bucket/x", "file:///etc/passwd", "${seed}", "data/0_raw/${seed}",
    "a; touch pwned ;", "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"', "a\nb", "a\tb", "a\r", "a\x1b[31m", "\x7f",
    "<script>alert(1)</script>", "\u202eevil", "\U0001f600", "e\u0301", "\u00e9", "\u2028", "\ufeff", "A" * 250, "x" * 100_000,
    "{}", "{0}{}", "{}{", "{{}}", "{:>999999999}", "{.__class__}", "a {} b {}", "a {}", "none", "mini", "gift", "letters",
    "hf-hub:a/b", "local-dir:", "local-dir:/nowhere", "local-file:/dev/zero", "cuda:99999999999999999999", "json:", "a::b",
]  # fmt: skip
_NUMBERS = [
    "0", "-0.0", "-1", "1", "2", "8", "0.5", "1001", "65537", "1000000000", "9" * 39, "1.0e+30", "1.0e+300", "1.0e-320", "-1.0e+300",
]  # fmt: skip
# YAML that means other things than it seems to, or too many.
_ONLY_YAML = [
    "010", "08", "0x1F", "0b1", "1_000", "1:30", "1e30", "5e-5", ".inf", "-.inf", ".nan", "yes", "off", "y", "~", "Null", "True",
    "2024-01-01", "2001-12-14t21:59:43.10-05:00", "!!binary aGk=", "!!set {a}", "!!str 5", "!!int '5'", "!!float 1_0.0", "!replace {}",
    '!!python/object/apply:os.system ["touch pwned"]', "=", "<<", "*undefined", "&a [*a]", "9" * 5000, '"\\0"', '"\\ud800"', "{1: a}",
    "{a: 1, a: 2}", "{<<: 5}", "{? [a] : b}", "[" * 70 + "]" * 70, "[" * 2000 + "]" * 2000, "@", "%", "\t", "|\n  a\n  b", "a: b", "- a",
]  # fmt: skip
_STRUCTURES = ["null", "true", "false", "[]", "{}", "[[]]", "[1, 2]", '["a"]', '[null, "a"]', '{"a": 1}', '{"kind": []}',
               '{"images": {}, "kind": 5, "source": null}', '[{"task": 5}]', '{"text": "a", "true_guidance": 1}']  # fmt: skip
# JSON that Python's decoder takes, or chokes on.
_ONLY_JSON = ["NaN", "Infinity", "1e999", "9" * 5000, '"\\ud800"', '{"a": 1, "a": 2}', "[" * 100_000 + "]" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "", "'a'", "[1,]", "\x00"]  # fmt: skip

YAML_VALUES = [json.dumps(text) for text in _TEXTS] + _NUMBERS + _STRUCTURES + _ONLY_YAML
JSON_VALUES = [json.dumps(text) for text in _TEXTS[::4]] + _NUMBERS + _STRUCTURES + _ONLY_JSON

# A whole file.
_LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
YAML_FILES: dict[str, bytes] = {
    "empty": b"", "a number": b"5", "a text": b"hello", "a list": b"- a\n- b\n", "null": b"~", "a comment": b"# nothing\n",
    "NUL": b"seed: 1\x00\n", "latin-1": "experiment: ü\n".encode("latin-1"), "UTF-16": "seed: 1\n".encode("utf-16"), "bytes": bytes(range(256)),
    "two documents": b"a: 1\n---\nb: 2\n", "a tab": b"run:\n\tdevice: cpu\n", "an open bracket": b"run: {device: cpu\n", "an open quote": b'a: "b\n',
    "a directive": b"%YAML 3.0\n---\na: 1\n", "a line separator": "a: b\u2028c\n".encode(), "escape codes": b"\x1b[2J",
    "billion laughs": _LAUGHS.encode(), "an alias of itself": b"a: &a\n  b: *a\n", "itself": b"&a [*a]",
    "deep lists": b"[" * 100_000, "deep sections": b"{a: " * 50_000, "deep dashes": b"- " * 100_000, "deep keys": b"? " * 100_000,
    "a chain of aliases": "".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else 1}]\n" for i in range(5000)).encode(),
    "many keys": "".join(f"k{i}: 1\n" for i in range(30_000)).encode(), "many lines": b"\n" * 400_000, "many anchors": b"&a " * 100_000,
    "a long word": b"a" * 500_000, "a long key": b"? " + b"k" * 400_000 + b"\n: 1\n", "a long number": b"seed: " + b"9" * 400_000, "huge": b"#" * 3_000_000,
    "an overlay": b"base: mini\nseed: 1\n", "many commas": b"[" + b"a," * 200_000 + b"]", "many colons": b"a:" * 200_000, "many stars": b"*a " * 100_000,
    "many unknown methods": ("run: {methods: [" + ", ".join(f"m{i}" for i in range(20_000)) + "]}").encode(),
}  # fmt: skip
JSON_FILES: dict[str, bytes] = {
    "empty": b"", "null": b"null", "a number": b"5", "a list": b"[]", "a text": b'"a"', "an object": b"{}", "a list of lists": b"[[[]]]", "NaN": b'{"a": NaN}',
    "latin-1": b'{"a": "\xfc"}', "UTF-16": '{"a": 1}'.encode("utf-16"), "NUL": b"\x00", "bytes": bytes(range(256)), "half": b'{"model_cfg": {"embed',
    "deep": b"[" * 100_000, "deep objects": b'{"a":' * 100_000, "digits": b"9" * 5000, "twice": b'{"a": 1, "a": 2}', "a surrogate": b'{"a": "\\udc00"}',
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.", "a long text": b'"' + b"a" * 5_000_000 + b'"', "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
}  # fmt: skip

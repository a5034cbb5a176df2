"""Documents made to hurt whoever reads them."""

__all__ = ["HOSTILE"]


def _dotted(parts: int) -> bytes:
    return b".".join([b"a"] * parts)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "brackets": b"budget = " + b"[" * 5000,
    "objects": b'{"a":' * 20000,
    "lists": b"[" * 100_000,
    "tables in tables": b"x = " + b"{a=" * 5000,
    "many digits": b"budget = " + b"9" * 5000,
    "many digits in JSON": b'{"schema": ' + b"9" * 5000 + b"}",
    "many hexadecimal digits": b"[budget]\nmaximum = 0x" + b"f" * 50_000,
    "a year of many digits": b"[budget]\nmaximum = 99999-01-01",
    "a key of many parts": _dotted(100_000) + b" = 1",
    "a header of many parts": b"[" + _dotted(100_000) + b"]",
    "many parts after a string": b'x = {x = """a"""", ' + _dotted(100_000) + b' = 1, z = "" }',
    "tables below each other": b"x = " + b"".join(b"{" + _dotted(30) + b" = " for _ in range(30)) + b"1" + b"}" * 30,
    "no number": b"[budget]\nmaximum = nan",
    "no end": b"[budget]\nmaximum = inf",
    "no number in JSON": b'{"schema": NaN}',
    "a key twice": b"[budget]\nmaximum = 1\nmaximum = 1",
    "a key twice in JSON": b'{"schema": 1, "schema": 2}',
    "not UTF-8": b'[budget]\nmaximum = "\xff\xfe"',
    "half a pair": b'{"schema": "\\ud800", "\\udfff": 1}',
    "zeros": b"\0" * 5000,
    "escapes": b'\x1b[2J\x07 = "\x1b"',
    "a great length": b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
    "UTF-16": "[budget]".encode("utf-16"),
    "a megabyte of keys": b"".join(b"k%d = 1\n" % number for number in range(90_000)),
    "texts that never end": b"x = 1\n" + b'\\"""\n' * 50_000,
    "a string that never ends": b'x = "' + b'\\"' * 100_000,
    "many keys and the last one twice": b'{"a0": 1'
    + b"".join(b', "a%d": 1' % n for n in [*range(1, 100_000), 99_999])
    + b"}",
    "a text of many lines": b'x = """' + b"\n" * 200_000 + b'"""',
}

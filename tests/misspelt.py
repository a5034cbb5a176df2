"""Addresses with a user and a password, in the ways in which people write and misspell them."""

from daemons import PASSWORD
from hypothesis import strategies as st

__all__ = ["addresses"]

_schemes = st.sampled_from(
    ["rtsp", "RTSP", "Rtsps", "http", "https", "mqtt", "mqtts", "tcp", "udp", "ipc", "file", "rstp", "rtps", "ws", "x"]
)
_marks = st.sampled_from(
    ["://", ":/", ":///", "//", ":", ":\\\\", "\\\\", "/", ";//", ".//", ":://", "%3A%2F%2F", " ://"]
)
_starts = st.one_of(
    st.just(""),
    st.just("//"),
    st.just("/"),
    st.builds(str.__add__, _schemes, _marks),
)
# What may stand before or behind the telling part of a password. Quotes and blanks are a matter of the shell.
_signs = st.text(st.sampled_from("aZ09.-_~!$^*+|@/%é"), max_size=4)
_users = st.sampled_from(["admin", "me", "DOMAIN\\me", "me@home", "", "o.k", "ä"])
_passwords = st.builds(lambda before, after: f"{before}{PASSWORD}{after}", _signs, _signs)
_ats = st.sampled_from(["@", "@", "@", "%40", "＠"])
_hosts = st.sampled_from(["10.0.0.7", "camera.local:554", "[fe80::1]", "[::1]:554", "*", ""])
_paths = st.sampled_from(["", "/", "/cam", "/a b", "/cam?channel=1", "#x", ".mp4", "/clip.mp4", ":5600"])
_names = st.sampled_from(
    ["password", "pwd", "pass", "PASSWD", "token", "auth", "user_pw", "secret", "api_key", "x", "p-w"]
)

_with_users = st.builds(
    lambda start, user, colon, password, at, host, path: f"{start}{user}{colon}{password}{at}{host}{path}",
    _starts, _users, st.sampled_from([":", ":", ":", "%3A"]), _passwords, _ats, _hosts, _paths,
)  # fmt: skip
_with_parameters = st.builds(
    lambda start, host, before, sign, name, password, after: f"{start}{host}/cam{before}{sign}{name}={password}{after}",
    _starts,
    _hosts.filter(bool),
    st.sampled_from(["", "?channel=1", "?", "?x&y"]),
    st.sampled_from(["?", "&", "#", ";"]),
    _names,
    _passwords,
    st.sampled_from(["", "&x=1", "&x", "#top"]),
)
_without_host = st.builds(
    lambda scheme, mark, password, path: f"{scheme}{mark}admin:{password}{path}",
    st.sampled_from(["rtsp", "RTSP", "mqtt", "http"]),
    st.sampled_from(["://", ":/", "//"]),
    st.builds(lambda after: PASSWORD + after, _signs),
    st.sampled_from(["", "/cam"]),
)

addresses = st.one_of(_with_users, _with_users, _with_parameters, _without_host)

"""Headers that proxies write, from the one that the caller reaches to the one that is next to this service."""

from __future__ import annotations

from typing import NamedTuple

#: What a caller sees of this service: the address in /openapi.json, and where its page finds its files.
PLAIN = ("http://web.internal:5000/", "./")
#: The address that each test reaches the service from, and a proxy before it.
NEAREST, OUTER = "127.0.0.1", "10.1.2.3"


class Proxied(NamedTuple):
    headers: dict[str, str]
    #: See PLAIN.
    base: str = PLAIN[0]
    root: str = PLAIN[1]
    #: Who is charged for a picture.
    client: str = NEAREST
    trusted: tuple[str, ...] = (NEAREST, "10.1.0.0/16")


CASES = {
    "nothing": Proxied({}),
    "TLS": Proxied({"X-Forwarded-Proto": "https"}, base="https://web.internal:5000/"),
    "TLS in capitals": Proxied({"X-Forwarded-Proto": "HTTPS"}, base="https://web.internal:5000/"),
    "scheme of something else": Proxied({"X-Forwarded-Proto": "javascript"}),
    "host": Proxied({"X-Forwarded-Host": "web.example"}, base="http://web.example/"),
    "host with port": Proxied({"X-Forwarded-Host": "web.example:8443"}, base="http://web.example:8443/"),
    "host of IPv6": Proxied({"X-Forwarded-Host": "[2001:db8::1]:8443"}, base="http://[2001:db8::1]:8443/"),
    "host that is none": Proxied({"X-Forwarded-Host": 'web.example/"><script>'}),
    "prefix": Proxied({"X-Forwarded-Prefix": "/ai"}, base=f"{PLAIN[0]}ai/", root="/ai/"),
    "prefix with slash": Proxied({"X-Forwarded-Prefix": "/ai/"}, base=f"{PLAIN[0]}ai/", root="/ai/"),
    "prefix of two segments": Proxied({"X-Forwarded-Prefix": "/a-1/b_2"}, base=f"{PLAIN[0]}a-1/b_2/", root="/a-1/b_2/"),
    "prefix called like an address": Proxied(
        {"X-Forwarded-Prefix": "/openapi.json"}, base=f"{PLAIN[0]}openapi.json/", root="/openapi.json/"
    ),
    "prefix of nothing": Proxied({"X-Forwarded-Prefix": "/"}),
    "prefix that is another host": Proxied({"X-Forwarded-Prefix": "//evil.example"}),
    "prefix with a tag": Proxied({"X-Forwarded-Prefix": '/"><script>'}),
    "traefik": Proxied(
        {
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "web.example",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Prefix": "/ai",
        },
        base="https://web.example/ai/",
        root="/ai/",
        client="192.0.2.7",
    ),
    "two proxies, each appends": Proxied(
        {
            "X-Forwarded-For": f"192.0.2.7, {OUTER}",
            "X-Forwarded-Proto": "https,http",
            "X-Forwarded-Host": "web.example, inner.example",
            "X-Forwarded-Prefix": "/a, /b",
        },
        base="https://web.example/a/b/",
        root="/a/b/",
        client="192.0.2.7",
    ),
    "two proxies, the inner one replaces": Proxied(
        {"X-Forwarded-For": f"192.0.2.7, {OUTER}", "X-Forwarded-Proto": "https"},
        base="https://web.internal:5000/",
        client="192.0.2.7",
    ),
    "caller who makes himself a proxy": Proxied(
        {
            "X-Forwarded-For": f"198.51.100.1, {OUTER}, 192.0.2.7",
            "X-Forwarded-Proto": "http, https",
            "X-Forwarded-Host": "evil.example, web.example",
            "X-Forwarded-Prefix": "/evil, /ai",
        },
        base="https://web.example/ai/",
        root="/ai/",
        client="192.0.2.7",
    ),
    "addresses with ports": Proxied({"X-Forwarded-For": f"192.0.2.7:4711, {OUTER}:80"}, client="192.0.2.7"),
    "address of IPv6": Proxied({"X-Forwarded-For": "[2001:db8::7]:4711"}, client="2001:db8::7"),
    "address of IPv6, bare": Proxied({"X-Forwarded-For": "2001:db8::7"}, client="2001:db8::7"),
    "no address": Proxied({"X-Forwarded-For": ""}),
    "every proxy is trusted": Proxied({"X-Forwarded-For": f"{OUTER}, 10.1.9.9"}, client=OUTER),
    "anybody is trusted": Proxied(
        {"X-Forwarded-For": "192.0.2.7, 198.51.100.1", "X-Forwarded-Proto": "https, http"},
        base="https://web.internal:5000/",
        client="192.0.2.7",
        trusted=("*",),
    ),
    "Forwarded": Proxied(
        {"Forwarded": 'for=192.0.2.7;proto=https;host="web.example:8443"'},
        base="https://web.example:8443/",
        client="192.0.2.7",
    ),
    "Forwarded, otherwise spelled": Proxied(
        {"Forwarded": 'For="[2001:db8::7]:4711" ; PROTO=HTTPS ;by=secret'},
        base="https://web.internal:5000/",
        client="2001:db8::7",
    ),
    "Forwarded by two proxies": Proxied(
        {"Forwarded": f"for=198.51.100.1;host=evil.example, for=192.0.2.7;host=web.example;proto=https, for={OUTER}"},
        base="https://web.example/",
        client="192.0.2.7",
    ),
    "Forwarded with separators in quotes": Proxied(
        {"Forwarded": r'for="_a\";,b";proto=https'}, base="https://web.internal:5000/", client='_a";,b'
    ),
    "Forwarded beside the others": Proxied(
        {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=198.51.100.1;proto=https;host=evil.example"},
        client="192.0.2.7",
    ),
    "Forwarded that does not end": Proxied({"Forwarded": 'for="' + '\\"' * 20_000}),
    "nobody is trusted": Proxied(
        {
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Prefix": "/evil",
            "Forwarded": "for=192.0.2.7;proto=https;host=evil.example",
        },
        trusted=(),
    ),
    "somebody else is trusted": Proxied(
        {
            "X-Forwarded-For": "192.0.2.7, 127.0.0.1",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Prefix": "/evil",
        },
        trusted=("10.1.0.0/16", "127.0.0.2"),
    ),
}

"""The packages of Debian and its like that a system consists of, as dpkg's records name them."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

from marserve.errors import MarserveError
from marserve.sbom.packages import PRODUCT, Component

#: Below the root of the system.
STATUS = Path("var/lib/dpkg/status")
#: Where images made of parts have a file for each package.
PARTS = Path("var/lib/dpkg/status.d")


def system_packages(root: Path = Path("/")) -> list[Component]:
    """Those of the system at ``root``, sorted. Raises MarserveError where it has no records of dpkg's."""
    try:
        texts = [(root / STATUS).read_text(encoding="utf-8")]
    except OSError as exc:
        raise MarserveError(
            f"{root / STATUS}: {exc.strerror}. Only dpkg's records of a system's packages are read."
        ) from exc
    texts += [file.read_text(encoding="utf-8") for file in sorted((root / PARTS).glob("*"))]
    release = platform.freedesktop_os_release()
    return sorted(
        (_component(fields, release) for text in texts for fields in _stanzas(text)), key=lambda one: one["purl"]
    )


def _stanzas(text: str) -> Iterator[Mapping[str, str]]:
    # https://www.debian.org/doc/debian-policy/ch-controlfields.html: what a mail's head looks like
    for stanza in text.split("\n\n"):
        fields = dict(HeaderParser().parsestr(stanza.lstrip("\n")).items())
        if "Package" in fields and fields.get("Status", "").endswith(" installed"):
            yield fields


def _component(fields: Mapping[str, str], release: Mapping[str, str]) -> Component:
    # https://github.com/package-url/purl-spec/blob/main/types/deb-definition.json
    name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
    distribution = f"{release['ID']}-{release.get('VERSION_ID', '')}".rstrip("-")
    purl = f"pkg:deb/{release['ID']}/{quote(name)}@{quote(version)}?arch={architecture}&distro={distribution}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "properties": [{"name": f"{PRODUCT}:source", "value": fields.get("Source", name).partition(" ")[0]}],
    }

"""Python's packages that the product is made of, with what their wheels carry besides Python."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from marserve.archive.weights.files import sha256_of

Component = dict[str, Any]

PRODUCT = "marserve"
#: What a serving machine may have; an extra that is not installed adds nothing.
EXTRAS = frozenset({"serve", "torchserve", "engine", "web", "runtime", "heif", "int8", "tracing", "ray"})
#: Shorter texts in a package's metadata are a licence's name; longer ones are the licence itself.
LONGEST_LICENSE_NAME = 80
#: Pillow's names for versions of the libraries that its wheel carries, by the names of their files.
PILLOW_FEATURES = {
    "libavif": "avif", "libfreetype": "freetype2", "libharfbuzz": "harfbuzz", "libjpeg": "libjpeg_turbo",
    "liblcms2": "littlecms2", "libopenjp2": "jpg_2000", "libtiff": "libtiff", "libwebp": "webp", "libwebpdemux": "webp",
    "libwebpmux": "webp", "libsharpyuv": "webp",
}  # fmt: skip


@dataclass(frozen=True)
class Package:
    distribution: metadata.Distribution
    #: The names of the packages that it needs here.
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonical(self.distribution.name)

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.distribution.version.replace('+', '%2B')}"


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packages() -> dict[str, Package]:
    """The product and every package that is installed because it needs it, by name."""
    found: dict[str, Package] = {}
    _add(PRODUCT, EXTRAS, found)
    return found


def _add(name: str, extras: frozenset[str], found: dict[str, Package]) -> None:
    from packaging.requirements import Requirement

    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:  # of an extra that is not installed, or for another platform
        return
    wanted = [
        requirement
        for requirement in map(Requirement, distribution.requires or ())
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *sorted(extras)))
    ]
    needs = tuple(sorted({canonical(requirement.name) for requirement in wanted}))
    found[canonical(name)] = Package(distribution, needs)
    for requirement in wanted:
        if canonical(requirement.name) not in found:
            _add(requirement.name, frozenset(requirement.extras), found)


def component_of(package: Package) -> Component:
    component: Component = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.distribution.version,
        "purl": package.purl,
    }
    if licenses := _licenses(package.distribution.metadata):
        component["licenses"] = licenses
    carried = list(_carried(package))
    return component | ({"components": carried} if carried else {})


def _licenses(about: Any) -> list[dict[str, Any]]:  # PackageMetadata, whose protocol lacks get
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    classifiers = [text for text in about.get_all("Classifier") or () if text.startswith("License :: ")]
    names = [text.rpartition(" :: ")[2] for text in classifiers if not text.endswith(":: OSI Approved")]
    text = str(about.get("License") or "")
    if not names and text and len(text) <= LONGEST_LICENSE_NAME and "\n" not in text:
        names = [text]
    return [{"license": {"name": name}} for name in names]


def _carried(package: Package) -> Iterator[Component]:
    """Libraries in a wheel: shared ones beside its package, and Swagger UI."""
    folder = Path(str(package.distribution.locate_file(f"{package.distribution.name.replace('-', '_')}.libs")))
    versions = _native_versions(package.name)
    for file in sorted(folder.glob("lib*.so*")):
        name = re.split(r"[-.]", file.name)[0]
        yield _file_component(package, name, versions.get(name), file)
    if package.name == "fastapi-offline" and (spec := find_spec("fastapi_offline")) and spec.origin:
        bundle = Path(spec.origin).with_name("static") / "swagger-ui-bundle.js"
        version = re.search(r'PACKAGE_VERSION:"([\d.]+)"', bundle.read_text(encoding="utf-8"))
        component = _file_component(package, "swagger-ui-dist", version and version[1], bundle)
        if version:
            component["purl"] = f"pkg:npm/swagger-ui-dist@{version[1]}"
        yield component | {"licenses": [{"expression": "Apache-2.0"}]}


def _file_component(package: Package, name: str, version: str | None, file: Path) -> Component:
    return {
        "type": "library",
        "bom-ref": f"{package.purl}#{file.name}",
        "name": name,
        **({"version": version} if version else {}),
        "hashes": [{"alg": "SHA-256", "content": sha256_of(file)}],
        "properties": [{"name": f"{PRODUCT}:file", "value": file.name}],
    }


@functools.cache
def _native_versions(package: str) -> Mapping[str, str]:
    """Versions of the libraries that read strangers' pictures, as they themselves say."""
    if package == "pillow":
        from PIL import features

        known = {name: features.version(feature) for name, feature in PILLOW_FEATURES.items()}
        return {name: version for name, version in known.items() if version}
    if package == "pillow-heif":
        import pillow_heif

        about = pillow_heif.libheif_info()
        decoder = re.search(r"version ([\d.]+)", str(about["decoders"].get("libde265")))
        return {"libheif": about["libheif"]} | ({"libde265": decoder[1]} if decoder else {})
    return {}

"""New versions whose handler is slower, answers differently or ends its worker, and one as good as before."""

from __future__ import annotations

import json
import zlib

from tests.e2e.operating import Edit

#: One picture in so many, by its content, is answered differently, and one ends its worker.
DIFFERS_IN, DEADLY_IN = 50, 500


def _in_handler(code: str) -> Edit:
    """Adds methods to the class that the archive's entry point ends with."""

    def edit(files: dict[str, bytes]) -> None:
        files["resnet18_handler.py"] += code.encode()
        description = json.loads(files["description.json"])
        description["inputs_sha256"] = f"{zlib.crc32(code.encode()):064x}"  # another archive
        files["description.json"] = json.dumps(description).encode()

    return edit


_CHECKSUMS = """
    def _checksums(self, jobs):
        import zlib

        items = [item for job in jobs for item in (job if isinstance(job, list) else [job])]
        return [zlib.crc32(picture) for item in items if hasattr(item, "pictures") for picture in item.pictures]
"""
slower_by_half = _in_handler("""
    def handle(self, data, context):
        import time

        began = time.perf_counter()
        bodies = super().handle(data, context)
        time.sleep((time.perf_counter() - began) / 2)
        return bodies
""")
differs = _in_handler(f"""{_CHECKSUMS}
    def preprocess(self, data, context):
        jobs, pictures = super().preprocess(data, context)
        self._odd = [checksum % {DIFFERS_IN} == 0 for checksum in self._checksums(jobs)]
        return jobs, pictures

    def inference(self, pictures, explain):
        outcomes = super().inference(pictures, explain)
        for index, is_odd in enumerate(self._odd):
            if is_odd and hasattr(outcomes[index], "probabilities"):
                shares = outcomes[index].probabilities.copy()
                second, first = shares.argsort()[-2:]
                shares[[first, second]] = shares[[second, first]]
                outcomes[index] = outcomes[index]._replace(probabilities=shares)
        return outcomes
""")
deadly = _in_handler(f"""{_CHECKSUMS}
    def preprocess(self, data, context):
        jobs, pictures = super().preprocess(data, context)
        if any(checksum % {DEADLY_IN} == 0 for checksum in self._checksums(jobs)):
            __import__("os")._exit(1)
        return jobs, pictures
""")
good = _in_handler("")

"""The right answers: torchvision's ResNet18 with torchvision's transform, run here without a server.

As a script (``python -m bench.reference STATE_DICT < paths``) it writes the seeded state dict and prints the answers:
torch is imported by that process alone, so that the benchmark itself stays small.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import REPOSITORY
from bench.errors import BenchError

#: Photographs that are classified here, and how many of them, those with the clearest answers, each server is sent.
CLASSIFIED = 40
SENT = 3


@dataclass(frozen=True)
class Expected:
    """A photograph and how its top class is called: class id, WordNet id, names."""

    picture: bytes
    class_id: int
    names: tuple[str, ...]

    def is_answered_by(self, body: bytes) -> bool:
        """Whether the class is among the labels of an answer, whatever its form.

        Every recipe names the top 5. The weights are seeded, so that classes are close to each other and servers that
        resize otherwise may swap the first two.
        """
        text = body.decode(errors="replace").lower()
        return any(name.lower() in text for name in self.names)


def expected_answers(photographs: Path, weights: Path) -> list[Expected]:
    """Write ``weights``, and answer the photographs that distinguish best."""
    files = sorted(file for file in photographs.iterdir() if file.suffix.lower() in (".jpg", ".jpeg"))[:CLASSIFIED]
    done = subprocess.run(
        [sys.executable, "-m", "bench.reference", str(weights)],
        input="\n".join(map(str, files)), capture_output=True, text=True, cwd=REPOSITORY, check=False,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"The reference answers cannot be computed: {done.stderr.strip()[-800:]}")
    return [
        Expected(Path(answer["file"]).read_bytes(), answer["class_id"], tuple(answer["names"]))
        for answer in json.loads(done.stdout)
    ]


def main() -> int:
    """Compute the answers."""
    import torch
    from PIL import Image
    from torchvision.models import ResNet18_Weights, resnet18

    from marserve.archive.weights.state_dict import seeded_state_dict
    from marserve.handler.resnet18.labels import read_labels

    state_dict = seeded_state_dict("resnet18", 1000)
    torch.save(state_dict, sys.argv[1])
    network = resnet18().eval()
    network.load_state_dict(state_dict)
    preset = ResNet18_Weights.IMAGENET1K_V1
    transform, categories = preset.transforms(), preset.meta["categories"]
    labels = read_labels(REPOSITORY / "config" / "index_to_name.json")
    answers: list[tuple[float, dict[str, object]]] = []
    for line in sys.stdin.read().splitlines():
        with Image.open(line) as image:
            pixels = transform(image.convert("RGB"))
        with torch.inference_mode():
            probabilities = network(pixels[None])[0].softmax(0)
        top = probabilities.topk(2)
        class_id = int(top.indices[0])
        label = labels[class_id]
        names = sorted({name for name in (categories[class_id], label.name, label.wnid) if name})
        margin = float(top.values[0] - top.values[1])
        answers.append((margin, {"file": line, "class_id": class_id, "names": names}))
    answers.sort(key=lambda answer: answer[0], reverse=True)
    # Of different classes where there are such.
    clearest: dict[object, dict[str, object]] = {}
    for _, answer in answers:
        clearest.setdefault(answer["class_id"], answer)
    print(json.dumps(list(clearest.values())[:SENT]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The network in torch: what is exported at build time, what the torch engine runs, and the reference for both.

torch is imported when a function is called, so that a worker that runs OpenVINO loads neither torchvision nor this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from .errors import ConfigurationError

if TYPE_CHECKING:
    import torch

    from .description import Normalization

    Module = TypeVar("Module", bound=torch.nn.Module)

#: The demonstration model. Its ImageNet weights come as a package, so it answers true labels on any machine.
EFFICIENTNET_LITE0 = "efficientnet_lite0"


def build_network(architecture: str, class_count: int) -> torch.nn.Module:
    """An untrained network in evaluation mode: normalized pictures (N, 3, H, W) in, logits (N, classes) out.

    ``architecture`` is the name of any torchvision classification network, or ``efficientnet_lite0``.
    """
    if architecture == EFFICIENTNET_LITE0:
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0", num_classes=class_count)
        return cast("torch.nn.Module", network.eval())
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if architecture not in names:
        raise ConfigurationError(
            f"Unknown architecture {architecture!r}: give {EFFICIENTNET_LITE0} or one of torchvision's, such as "
            "resnet18, resnet50 or mobilenet_v3_small."
        )
    # Two architectures carry auxiliary heads that only training uses, and whose set-up is slow and must be named.
    extra = {"init_weights": True} if architecture in {"googlenet", "inception_v3"} else {}
    network = torchvision.models.get_model(architecture, weights=None, num_classes=class_count, **extra)
    return cast("torch.nn.Module", network.eval())


def find_pooled_head(network: torch.nn.Module, crop_size: int) -> str | None:
    """The name of the last layer's weights (classes, channels), where all it gets is the average of a feature map.

    For such a network class activation maps are exact (Zhou et al., "Learning Deep Features for Discriminative
    Localization", 2016). None where the head is of another kind; found by computing, not by the network's name.
    """
    import torch

    pool, linear = _last(network, torch.nn.AdaptiveAvgPool2d), _last(network, torch.nn.Linear)
    if pool is None or linear is None:
        return None
    seen: list[torch.Tensor] = []
    hook = pool[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    picture = torch.rand((1, 3, crop_size, crop_size), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = network(picture)
    hook.remove()
    if len(seen) != 1 or seen[0].shape[1] != linear[1].in_features:
        return None
    with torch.inference_mode():
        same = torch.allclose(linear[1](seen[0].mean(dim=(2, 3))), logits, rtol=1e-3, atol=1e-4)
    return f"{linear[0]}.weight" if same else None


def as_classifier(network: torch.nn.Module, normalization: Normalization, head: str | None) -> torch.nn.Module:
    """Wrap ``network`` so that it takes pictures as they are decoded and answers probabilities.

    In: uint8 (N, H, W, 3), RGB. Out: a tuple of the probabilities, float32 (N, classes), each row summing to 1, and,
    where ``head`` is not None (see ``find_pooled_head``), the last feature map, float32 (N, channels, h, w). The
    arithmetic between runs in the dtype of the network's weights, so ``.half()`` on the result makes a half-precision
    classifier.
    """
    import torch

    features: list[torch.Tensor] = []
    pool = _last(network, torch.nn.AdaptiveAvgPool2d)
    if head is not None and pool is not None:
        pool[1].register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))

    class Classifier(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            # Pictures are 0 to 255 here while mean and std are given for 0 to 1, as torchvision documents them.
            self.register_buffer("mean", torch.tensor(normalization.mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(normalization.std).view(1, 3, 1, 1) * 255)

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features.clear()
            pictures = pixels.permute(0, 3, 1, 2).to(self.mean.dtype)
            logits = self.network((pictures - self.mean) / self.std)
            return (torch.softmax(logits.float(), dim=1), *(feature_map.float() for feature_map in features))

    return Classifier().eval()


def _last(network: torch.nn.Module, kind: type[Module]) -> tuple[str, Module] | None:
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, kind)]
    return found[-1] if found else None

"""The model file that a state dict is loaded into (pytorch/serve, examples/image_classifier/resnet_18)."""

from torchvision.models.resnet import BasicBlock, ResNet


class ImageClassifier(ResNet):
    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])

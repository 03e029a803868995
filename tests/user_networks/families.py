"""Well-known networks as their users write or import them, narrow, for images 3 x 32 x 32."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models


class Block(nn.Module):
    """A basic block of residual networks."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """For CIFAR, or with ImageNet's stem, which leaves the last blocks a single pixel of such small images."""

    def __init__(self, widths: list[int], blocks: int, large_stem: bool = False) -> None:
        super().__init__()
        width = widths[0]
        stem = nn.Conv2d(3, width, 7, 2, 3, bias=False) if large_stem else nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, 2, 1) if large_stem else nn.Identity()
        layers = []
        for stage, outputs in enumerate(widths):
            for block in range(blocks):
                layers.append(Block(width, outputs, 2 if stage and not block else 1))
                width = outputs
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.layers(self.pool(self.stem(x))), 1)
        return self.head(x.view(x.size(0), -1))


class VGG11(nn.Module):
    """torchvision's layers with batch norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        numbers = [1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"]
        self.features = models.vgg.make_layers([n if n == "M" else n * width for n in numbers], batch_norm=True)
        self.classifier = nn.Linear(8 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class ViT(models.VisionTransformer):
    """torchvision's, with `nn.MultiheadAttention`."""

    def __init__(self) -> None:
        super().__init__(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10)
        nn.init.normal_(self.heads.head.weight, std=0.1)  # torchvision starts it at zero


class OwnViT(nn.Module):
    """With `scaled_dot_product_attention` and a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.position = nn.Parameter(torch.randn(1, 17, 16) / 10)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48, bias=False)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.position
        count, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(count, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).contiguous().view(count, tokens, width)
        return self.head((x + attended)[:, 0])


class MobileNet(models.MobileNetV2):
    """torchvision's, the narrowest, with grouped convolutions and ReLU6 in place."""

    def __init__(self) -> None:
        super().__init__(num_classes=10, width_mult=0.1)

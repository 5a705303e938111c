"""Writes data/golden/resnet20_trace.json: the losses of 50 training steps of ResNet-20 in PyTorch, on the CPU.

    python3 kernels-test/support/resnet_trace.py data/cifar100/train.bin > data/golden/resnet20_trace.json

Data: the 40 images of data/cifar100, fine label / 5 as one of 20 classes, pixels (p / 255 - 0.5) / 0.25, mini-batches of
20 in file order. Weights: a hash of the parameter's name and the element's number, below. SGD: rate 0.002, momentum 0.9,
weight decay 5e-4 on everything. Shortcuts: option A of He et al. (CVPR 2016). In float64 and in float32.
"""

import json
import math
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional as F

STEPS, BATCH = 50, 20


class Block(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.extra = stride, planes - inputs

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.extra > 0:
            half = self.extra // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.extra - half))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for i, (inputs, planes, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)]):
            blocks = [Block(inputs if k == 0 else planes, planes, stride if k == 0 else 1) for k in range(3)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def hashed(name, count):
    """Uniform numbers from -1 to 1: FNV-1a of the name, mixed with the element's number, in 32 bits."""
    key = 2166136261
    for byte in name.encode():
        key = (key ^ byte) * 16777619 % 2**32
    h = (numpy.arange(count, dtype=numpy.uint64) * 2654435761 + key) % 2**32
    h ^= h >> numpy.uint64(15)
    h = h * 2246822519 % 2**32
    h ^= h >> numpy.uint64(13)
    return h.astype(numpy.float64) / 2**31 - 1


def trace(dtype, images, labels):
    model = ResNet20(20).to(dtype)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                continue
            bound = math.sqrt(6 / (p.shape[0] * p[0, 0].numel())) if p.dim() == 4 else 1 / math.sqrt(p.shape[1])
            # Through float32, so that both engines start with the same numbers.
            values = (hashed(name, p.numel()) * bound).astype(numpy.float32).reshape(p.shape)
            p.copy_(torch.from_numpy(values))
        model.fc.bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(STEPS):
        at = slice(step % 2 * BATCH, step % 2 * BATCH + BATCH)
        loss = F.cross_entropy(model(images[at].to(dtype)), labels[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


records = numpy.fromfile(sys.argv[1], dtype=numpy.uint8).reshape(-1, 3074)
images = torch.from_numpy((records[:, 2:].reshape(-1, 3, 32, 32).astype(numpy.float64) / 255 - 0.5) / 0.25)
labels = torch.from_numpy(records[:, 1].astype(numpy.int64) // 5)
result = {
    "description": " ".join(__doc__.split("\n\n", 2)[-1].split()),
    "torch": torch.__version__,
    "losses64": trace(torch.float64, images, labels),
    "losses32": trace(torch.float32, images, labels),
}
print(json.dumps(result, indent=1))

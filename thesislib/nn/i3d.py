"""I3D with a ResNet-50, the network behind the features of chapters 8 and 9.

Wang et al. (2018) inflate ResNet-50 to video: 3 x 1 x 1 convolutions in the blocks
marked below, two temporal poolings by 2. Module names are those of the converted
Kinetics weights that circulate as `i3d_r50_kinetics.pth`.

Axes: B clips, F frames, H = W pixels.
"""

from torch import Tensor, nn

TEMPORAL = (  # of each block of the four stages: whether it looks at three frames
    (True, True, True),
    (True, False, True, False),
    (True, False, True, False, True, False),
    (False, True, False),
)
NUM_FEATURES = 2048


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions around a shortcut; the first may see frames."""

    def __init__(self, inside: int, width: int, stride: int, temporal: bool) -> None:
        super().__init__()
        frames = 3 if temporal else 1
        outside = 4 * width
        self.conv1 = nn.Conv3d(
            inside, width, (frames, 1, 1), padding=(frames // 2, 0, 0), bias=False
        )
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(
            width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False
        )
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outside)
        self.downsample = None
        if stride > 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv3d(inside, outside, 1, (1, stride, stride), bias=False),
                nn.BatchNorm3d(outside),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + shortcut).relu()


class I3DResNet50(nn.Module):
    """Clips to 2,048 features, the mean over time and place after the last stage."""

    def __init__(self, num_classes: int = 400) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, (5, 7, 7), 2, (2, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.maxpool1 = nn.MaxPool3d((2, 3, 3), 2)
        self.maxpool2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        inside, stages = 64, []
        for number, temporal in enumerate(TEMPORAL):
            width, blocks = 64 * 2**number, []
            for place, sees in enumerate(temporal):
                stride = 2 if number and not place else 1
                blocks.append(Bottleneck(inside, width, stride, sees))
                inside = 4 * width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(NUM_FEATURES, num_classes)  # kept for the weights' sake

    def forward(self, clips: Tensor) -> Tensor:
        """Map clips (B, 3, F, H, W), normalised, to features (B, 2048)."""
        x = self.maxpool1(self.bn1(self.conv1(clips)).relu())
        x = self.maxpool2(self.layer1(x))
        x = self.layer4(self.layer3(self.layer2(x)))
        return x.mean(dim=(2, 3, 4))

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from thesislib.errors import InputError
from thesislib.nn.heads import ProjectionHead
from thesislib.nn.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet18, load_weights


def test_full_width_computes_what_torchvision_computes(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = ResNet18().eval()
    load_weights(ours, tmp_path / "resnet18.pth")
    theirs.fc = torch.nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    normalised = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)

    torch.testing.assert_close(ours(images), theirs(normalised), rtol=1e-4, atol=1e-4)


def test_maps_halve_and_widen_from_stage_to_stage():
    maps = ResNet18(base_width=8).feature_maps(torch.rand(2, 3, 64, 64))

    shapes = [tuple(stage.shape) for stage in maps]
    assert shapes == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]


def test_saved_encoder_is_read_back(tmp_path):
    saved, fresh = ResNet18(base_width=8), ResNet18(base_width=8)
    weights = {name: t.contiguous() for name, t in saved.state_dict().items()}
    save_file(weights, tmp_path / "encoder.safetensors")
    load_weights(fresh, tmp_path / "encoder.safetensors")

    torch.testing.assert_close(dict(fresh.state_dict()), dict(saved.state_dict()))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: None, "No weights"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: torch.save({"a": torch.zeros(1)}, path), "not a ResNet-18"),
        (lambda path: torch.save({"a": print}, path), "cannot be read"),
        (lambda path: torch.save(ResNet18(16).state_dict(), path), "base_width"),
        (
            lambda path: torch.save(
                torchvision.models.resnet34(weights=None).state_dict(), path
            ),
            "unknown",
        ),
    ],
    ids=["absent", "empty", "other names", "pickled code", "width", "resnet34"],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(tmp_path, write, says):
    encoder = ResNet18(base_width=8)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    write(tmp_path / "weights.pth")

    with pytest.raises(InputError, match=says):
        load_weights(encoder, tmp_path / "weights.pth")
    torch.testing.assert_close(dict(encoder.state_dict()), before)


def test_dead_units_are_counted():
    head = ProjectionHead(4, 2, norm=False)
    with torch.no_grad():
        head.first.weight.zero_()
        head.first.bias.copy_(torch.tensor([1.0, 1.0, 1.0, -1.0]))

    assert head(torch.rand(5, 4))[1].item() == 0.75


def test_narrow_networks_are_refused():
    with pytest.raises(InputError, match="base_width is 4; ResNet-18 takes 8 or more"):
        ResNet18(base_width=4)

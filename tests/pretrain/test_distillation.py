"""A student learns its teacher's features, and nothing happens to the teacher."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.pretrain.toy import killed_within_every_step, same
from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError
from thesislib.nn.autoencoder import DownBlock
from thesislib.nn.resnet import ResNet18
from thesislib.pretrain import distillation
from thesislib.pretrain.distillation import DistillationConfig, Student, distil

D = 64  # features of the teacher below
TINY = DistillationConfig(
    base_width=2, teacher_size=64, batch_size=6, lr=1e-2, num_steps=4
)


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    return ResNet18(base_width=8)


def student_of(config=TINY, size=16, seed=0):
    torch.manual_seed(seed)
    return Student(size, config.base_width, D)


def copy_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    """Names of weights and statistics that are not as before, bit for bit."""
    now = module.state_dict()
    return [name for name in before if not torch.equal(now[name], before[name])]


# --- The equation ----------------------------------------------------------------


def test_the_loss_is_the_squared_distance_and_not_its_mean_over_features():
    student, teacher = torch.zeros(5, 3), torch.full((5, 3), 2.0)

    assert distillation.distillation_loss(student, teacher).item() == 3 * 2**2
    assert distillation.distillation_loss(teacher, teacher).item() == 0


def test_the_loss_is_a_mean_over_images():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, generator=generator)
    slow = sum((s - t).norm() ** 2 for s, t in zip(student, teacher, strict=True)) / 5

    torch.testing.assert_close(distillation.distillation_loss(student, teacher), slow)


def test_the_loss_pulls_at_the_student_alone():
    student, teacher = (torch.randn(2, 3, requires_grad=True) for _ in range(2))
    distillation.distillation_loss(student, teacher).backward()

    torch.testing.assert_close(student.grad, (student - teacher).detach())
    assert teacher.grad is None


# --- What each of the two sees ---------------------------------------------------


def test_the_paper_s_student_has_the_8192_values_and_512_features_of_the_program():
    student = Student(32)
    blocks = [type(block) for block in student.encoder.blocks]

    assert blocks == [nn.Conv2d, DownBlock, DownBlock, DownBlock]
    assert student.encoder.project.weight.shape == (512, 8192)
    assert student(torch.rand(2, 3, 32, 32)).shape == (2, 512)
    assert Student(32, 2)(torch.rand(2, 3, 32, 32)).shape == (2, 512)


def test_student_and_teacher_normalise_alike(teacher):
    student = student_of()

    assert torch.equal(student.mean, teacher.mean)
    assert torch.equal(student.std, teacher.std)
    grey = student.mean.expand(1, 3, 16, 16)
    black = student.encoder(torch.zeros(1, 3, 16, 16))
    torch.testing.assert_close(student(grey), black)


def test_at_its_own_size_the_teacher_sees_the_image_itself(teacher):
    images = torch.rand(2, 3, 64, 64)
    teacher.eval()

    found = distillation.teacher_features(teacher, images, 64)
    torch.testing.assert_close(found, teacher(images))
    assert not found.requires_grad


class Watched(nn.Module):
    """Notes what it is given, and gives features of the right number."""

    def __init__(self, image_size=None):
        super().__init__()
        self.image_size, self.seen = image_size, []
        self.weight = nn.Parameter(torch.ones(D))

    def forward(self, images):
        self.seen.append(images)
        return images.mean(dim=(1, 2, 3))[:, None] * self.weight


def test_the_teacher_sees_the_student_s_patches_enlarged(bank, make_loop):
    student, teacher = Watched(image_size=16), Watched()
    one = ImageBank.from_array(bank.pixels[:1])
    distil(student, teacher, one, replace(TINY, teacher_size=32), make_loop("kd"))

    for small, large in zip(student.seen, teacher.seen, strict=True):
        assert (small.shape, large.shape) == ((6, 3, 16, 16), (6, 3, 32, 32))
        means = (patches.mean(dim=(2, 3)) for patches in (small, large))
        torch.testing.assert_close(*means)  # doubling by interpolation keeps them
    (image,) = one.take([0])
    corners = {
        (y, x)
        for patch in torch.cat(student.seen)
        for y in range(17)
        for x in range(17)
        if torch.equal(image[:, y : y + 16, x : x + 16], patch)
    }
    assert len(corners) > 12  # of 24 patches: places are drawn


def test_a_student_as_large_as_the_images_sees_them_whole(bank, make_loop):
    student = Watched(image_size=32)
    distil(student, Watched(), bank, TINY, make_loop("kd"))

    (whole,) = bank.batches(48)
    for image in torch.cat(student.seen):
        assert any(torch.equal(image, one) for one in whole)


@pytest.mark.parametrize("size", [16, 32])
def test_of_grey_images_both_see_three_equal_channels(bank, make_loop, size):
    grey = ImageBank.from_array(bank.pixels[:, :1])
    student, teacher = Watched(image_size=size), Watched()
    distil(student, teacher, grey, TINY, make_loop("kd"))

    for images in (*student.seen, *teacher.seen):
        assert images.shape[1] == 3
        assert all(torch.equal(images[:, c], images[:, 0]) for c in range(3))


# --- Training --------------------------------------------------------------------


def test_gradients_reach_every_parameter_of_the_student(bank, teacher, make_loop):
    student = student_of()
    distil(student, teacher, bank, replace(TINY, num_steps=1), make_loop("kd"))

    for name, parameter in student.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


def test_nothing_happens_to_the_teacher(bank, teacher, make_loop):
    before = copy_of(teacher)  # with the statistics of batch norm
    student = student_of()
    untrained = copy_of(student)
    distil(student, teacher.train(), bank, TINY, make_loop("kd"))

    assert changed(teacher, before) == []
    assert not any(module.training for module in teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert changed(student, untrained) == list(untrained)
    assert not any(module.training for module in student.modules())


def test_a_short_run_comes_nearer_than_any_single_answer(bank, teacher, make_loop):
    config = replace(TINY, base_width=4, batch_size=10, num_steps=150)
    loop = make_loop("kd")
    distil(student_of(config), teacher, bank, config, loop)

    first, last = (
        sum(row["kd"] for row in rows) / len(rows)
        for rows in (loop.history[:5], loop.history[-20:])
    )
    spread = sum(row["spread"] for row in loop.history[-20:]) / 20
    assert last < 0.1 * first
    assert last < 0.7 * spread


def test_spread_is_the_loss_of_the_mean_as_the_only_answer(bank, make_loop):
    teacher = Watched()
    loop = make_loop("kd")
    distil(Watched(image_size=32), teacher, bank, replace(TINY, num_steps=1), loop)

    levels = teacher.seen[0].mean(dim=(1, 2, 3))
    expected = D * levels.var(correction=0).item()
    assert loop.history[0]["spread"] == pytest.approx(expected, rel=1e-4)


def test_killed_at_any_step_it_resumes_to_the_same_bits(
    bank, teacher, tmp_path, monkeypatch
):
    def train(seed, loop):
        return distil(student_of(seed=seed), teacher, bank, TINY, loop)

    straight, resumed = killed_within_every_step(
        train, TINY.num_steps, tmp_path, monkeypatch
    )
    assert len(resumed) == TINY.num_steps
    assert all(same(straight, end) for end in resumed)


# --- What is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"teacher_size": 31}, "teacher_size is 31 pixels; ResNet-18 needs 32 or more"),
        ({"num_steps": 0}, "num_steps is 0; an encoder that was taught nothing"),
    ],
)
def test_settings_that_teach_nothing_are_refused(given, says):
    with pytest.raises(InputError, match=f"distillation.{says}.*\\.$"):
        replace(TINY, **given)


def test_a_student_larger_than_the_images_is_refused(bank, teacher, make_loop):
    with pytest.raises(InputError, match="patch_size is 64; images have 32 pixels"):
        distil(student_of(size=64), teacher, bank, TINY, make_loop("kd"))

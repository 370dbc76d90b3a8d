"""Decoders: any backbone's maps in, logits for every pixel out."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.errors import TilthError
from tilth_engine.model.decoders.factory import CHANNELS, DEPTHS, DecoderSettings, make
from tilth_engine.model.decoders.image_branch import ImageBranch
from tilth_engine.model.decoders.pyramid import Pyramid
from tilth_engine.model.segmenter import Segmenter
from torch import nn

OTHERS = ("linear", "fcn", "unet", "upernet")
# Widths and strides of four maps: vision transformers' patches, CNNs' stages.
BACKBONES = {
    "pixels": ((8,) * 4, (1,) * 4),
    "patch 4": ((16,) * 4, (4,) * 4),
    "patch 14": ((16,) * 4, (14,) * 4),
    "patch 16": ((16,) * 4, (16,) * 4),
    "resnet": ((4, 8, 16, 32), (4, 8, 16, 32)),
    "five stages, four asked for": ((4, 8, 16, 32), (2, 4, 8, 32)),
    "dilated": ((4, 8, 16, 16), (4, 8, 8, 8)),
}


class Maps(nn.Module):
    """A backbone in name: maps of given widths and strides, each made of the image by a kernel."""

    def __init__(self, dims, strides):
        super().__init__()
        self.kernels = nn.ModuleList(
            nn.Conv2d(3, dim, stride, stride=stride)
            for dim, stride in zip(dims, strides, strict=True)
        )

    def forward(self, image, depths):
        return [self.kernels[depth - 1](image) for depth in depths]


def segmenter(name, backbone="patch 4", branch=False, classes=5, zoom=1.0, seed=0):
    torch.manual_seed(seed)
    dims, strides = BACKBONES[backbone]
    count = DEPTHS[name]
    settings = DecoderSettings(name, 8, branch or name == "slim", 64 if name == "unet" else 16)
    decoder = make(settings, 3, dims[-count:], strides[-count:], classes, zoom)
    depths = list(range(5 - count, 5))
    return Segmenter(Maps(dims, strides), decoder, depths, zoom, max(strides)).eval()


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", OTHERS)
def test_logits_for_every_pixel_of_any_backbone(name, backbone, branch):
    network = segmenter(name, backbone, branch).train()
    for rows, columns in ((32, 48), (20, 36)):
        logits = network(torch.randn(1, 3, rows, columns))
        assert logits.shape == (1, 5, rows, columns)
    logits.square().mean().backward()

    silent = [n for n, p in network.decoder.named_parameters() if p.grad is None]
    assert not silent, "every part of the decoder takes part"


@pytest.mark.parametrize("zoom", [0.5, 3.5])
@pytest.mark.parametrize("name", OTHERS)
def test_an_enlarged_image_costs_no_finer_map_than_the_image_has(name, zoom):
    network = segmenter(name, "patch 16", zoom=zoom)
    image = torch.randn(1, 3, 64, 64)

    coarse = network.decoder(image, network.features(image))

    assert network(image).shape == (1, 5, 64, 64)
    if name != "linear":  # whose kernel is the patch, as in the paper
        assert coarse.shape[-1] <= 2 * 64


@pytest.mark.parametrize("name", ["slim", *OTHERS])
def test_neither_the_batch_nor_a_chip_in_it_changes_a_chip(name):
    network = segmenter(name, branch=True).train(False)
    image = torch.randn(3, 3, 32, 32)

    together = network(image)
    alone = torch.cat([network(image[i : i + 1]) for i in range(3)])

    assert torch.allclose(together, alone, atol=1e-5)
    assert not [m for m in network.decoder.modules() if hasattr(m, "running_mean")]


@pytest.mark.parametrize("trust", [0.0, 0.5, 1.0])
def test_the_sum_of_the_branch_is_of_pixels_and_half_the_surroundings(trust):
    network = segmenter("fcn", branch=True)
    image = torch.randn(1, 3, 32, 32)
    maps = network.features(image)

    branch = network.decoder
    assert isinstance(branch, ImageBranch)
    branch.trust.fill_(trust)

    labels, classic = (part(image).log_softmax(1) for part in (branch.spectral, branch.distilled))
    expected = 0.2 * trust * labels + (1 - 0.2 * trust) * classic
    expected = expected + trust * branch.surroundings(image, maps) / 2
    torch.testing.assert_close(network(image), expected)
    assert torch.equal(network.surroundings(image), network.decoder.surroundings(image, maps))


@pytest.mark.parametrize("name, branch", [("slim", False), ("fcn", True)])
def test_a_network_that_is_not_trusted_is_not_computed(name, branch, monkeypatch):
    network = segmenter(name, branch=branch)
    image = torch.randn(2, 3, 32, 32)
    network.decoder.trust.fill_(0)
    with torch.no_grad():
        expected = network.decoder(image, network.features(image))
        monkeypatch.setattr(network, "features", lambda image: pytest.fail("was computed"))
        assert torch.allclose(network(image), expected, atol=1e-6)


@pytest.mark.parametrize(
    "stride, sizes",
    [(16, [32, 16, 8, 4]), (8, [16, 8, 4, 2]), (4, [8, 8, 4, 2]), (2, [4, 4, 4, 2])],
)
def test_a_pyramid_of_equal_maps_is_never_finer_than_two_pixels(stride, sizes):
    pyramid = Pyramid([8] * 4, [stride] * 4)
    maps = [torch.randn(1, 8, sizes[2], sizes[2]) for _ in range(4)]

    levels = pyramid(maps)

    assert [level.shape[-1] for level in levels] == sizes
    assert [level.shape[1] for level in levels] == pyramid.dims
    assert [stride * sizes[2] / size for size in sizes] == pyramid.strides


def test_a_cnns_pyramid_keeps_its_sizes():
    dims, strides = BACKBONES["resnet"]
    pyramid = Pyramid(dims, strides)
    maps = [torch.randn(1, dim, 64 // s, 64 // s) for dim, s in zip(dims, strides, strict=True)]

    assert [level.shape for level in pyramid(maps)] == [m.shape for m in maps]
    assert (pyramid.dims, pyramid.strides) == (list(dims), list(strides))


def parameters(name, dim=768, stride=16):
    count = DEPTHS[name]
    with torch.device("meta"):
        decoder = make(DecoderSettings(name, 32, False), 6, [dim] * count, [stride] * count, 2)
    return sum(p.numel() for p in decoder.parameters())


def test_the_sizes_are_the_papers():
    # FCN: four 2x2 transposed and four 3x3 convolutions of 512 channels with a norm each.
    up, conv, norm = 4 * 512 * 512 + 512, 9 * 512 * 512 + 512, 2 * 512
    assert parameters("fcn") == 4 * (up + conv + norm) + 4 * 256 * 512 + 2 * 513
    assert parameters("linear") == 768 * 2 * 16 * 16 + 2
    assert CHANNELS == {"fcn": 512, "unet": 512, "upernet": 256}
    widths = [m.out_channels for m in unet_convolutions()]
    assert widths == [512, 512, 256, 256, 128, 128, 64, 64]


def unet_convolutions():
    decoder = make(DecoderSettings("unet", 32, False), 6, [64] * 4, [16] * 4, 2)
    return [m for m in decoder.blocks.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("name", ["slim", *OTHERS])
def test_half_precision_on_file_changes_no_map(name, branch):
    network = segmenter(name, "resnet", branch)
    image = torch.randn(2, 3, 32, 32)
    full = network(image)
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.copy_(parameter.half())

    assert 0 < (network(image) - full).abs().max() < 1e-2


@pytest.mark.parametrize("name", OTHERS)
def test_only_the_slim_one_does_without_a_backbone(name):
    with pytest.raises(TilthError, match=f"{name} needs a backbone"):
        make(DecoderSettings(name), 3, [], [], 2)


def test_settings_travel_through_a_card():
    for settings in (DecoderSettings(), DecoderSettings("unet", 16, False, 256)):
        assert DecoderSettings.from_dict(settings.to_dict()) == settings
    good = DecoderSettings().to_dict()
    for bad in ({"name": "x"}, {"width": 0}, {"channels": -1}, {"channels": 10**6}, {"width": []}):
        with pytest.raises(TilthError, match="decoder"):
            DecoderSettings.from_dict({**good, **bad})
    with pytest.raises(TilthError, match="damaged"):
        DecoderSettings.from_dict({"name": "slim"})


def accuracy_after(network, image, steps=60):
    """The share of right pixels in the second half of a batch, of which the first is learnt, with
    the spectral branches left out. What is to be learnt is the sign of the first band."""
    target = image[:, 0].round() > 0
    half = len(image) // 2
    optimizer = torch.optim.AdamW(network.train().decoder.parameters(), lr=1e-2)
    for _ in range(steps):
        logits = network.surroundings(image[:half])
        loss = nn.functional.cross_entropy(logits, target[:half].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = network.eval().surroundings(image[half:]).argmax(1)
    return (found == target[half:]).float().mean()


@pytest.mark.parametrize("name", OTHERS)
def test_each_learns_what_the_maps_show(name):
    network = segmenter(name, "patch 4", classes=2)
    blocks = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0)).sign()
    image = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)

    assert accuracy_after(network, image + torch.randn(image.shape) / 10) > 0.9


@pytest.mark.parametrize("name", OTHERS)
def test_the_image_branch_shows_single_pixels(name):
    plain, sharp = (segmenter(name, "patch 16", branch, 2) for branch in (False, True))
    image = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()

    assert accuracy_after(plain, image, steps=10) < 0.6
    assert accuracy_after(sharp, image) > 0.7

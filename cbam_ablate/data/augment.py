"""Changes to training images: drawn for all images of an epoch on the CPU, applied a batch at a time.

Each kind is a pair: one function draws its numbers, one row an image, the other applies them.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ERASED = {"timm": ((0.02, 1 / 3), (0.3, 1 / 0.3)), "torchvision": ((0.02, 0.33), (0.3, 3.3))}
"""Least and greatest area, in parts of the image, and ratio of sides."""
ERASE_TRIES = 10
CROP_TRIES = 10


def crops(count: int, padding: int, flip: bool, stream: torch.Generator) -> Tensor:
    """For each image the crop's top and left in pixels, and whether it is flipped: (count, 3)."""
    corners = torch.randint(2 * padding + 1, (count, 2), generator=stream)
    flips = torch.randint(2, (count, 1), generator=stream)
    return torch.cat([corners, flips * int(flip)], 1)


def resized_crops(
    sides: Tensor, scale: list[float], ratio: list[float], flip: bool, stream: torch.Generator
) -> Tensor:
    """For each image its box's top, left, height and width in pixels, and whether it is flipped: (count, 5).

    `sides` (count, 2) are heights and widths. As torchvision draws them: of ten boxes of random area and
    log-uniform width over height the first that fits, else the middle, as much as the ratio allows.
    """
    height, width = sides[:, 0:1].double(), sides[:, 1:2].double()
    area, aspect, top, left = torch.rand(4, len(sides), CROP_TRIES, generator=stream, dtype=torch.float64)
    flips = torch.randint(2, (len(sides), 1), generator=stream)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    low, high = (math.log(value) for value in ratio)
    aspect = (low + (high - low) * aspect).exp()
    wide, tall = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    top, left = (top * (height - tall + 1)).floor(), (left * (width - wide + 1)).floor()
    tries = torch.stack([top, left, tall, wide], 2)
    chosen = tries[torch.arange(len(sides)), fits.int().argmax(1)]
    wide, tall = (
        torch.minimum(width, (height * ratio[1]).round()),
        torch.minimum(height, (width / ratio[0]).round()),
    )
    middle = torch.cat([((height - tall) / 2).floor(), ((width - wide) / 2).floor(), tall, wide], 1)
    boxes = torch.where(fits.any(1, keepdim=True), chosen, middle).long()
    return torch.cat([boxes, flips * int(flip)], 1)


def crop(images: Tensor, drawn: Tensor, padding: int) -> Tensor:
    """Pads uint8 images (B, H, W, C) with zeros, cuts out as much as they were and flips: one gather."""
    count, height, width, channels = images.shape
    padded = F.pad(images, (0, 0, padding, padding, padding, padding)) if padding else images
    tall, wide = padded.shape[1:3]
    top, left, flip = drawn[:, 0:1], drawn[:, 1:2], drawn[:, 2:3].bool()
    column = torch.arange(width, device=images.device)
    rows = tall * torch.arange(count, device=images.device)[:, None] + top
    rows = rows + torch.arange(height, device=images.device)
    columns = left + torch.where(flip, column.flip(0), column)
    pixels = (wide * rows[:, :, None] + columns[:, None, :]).flatten()
    return padded.view(-1, channels).index_select(0, pixels).view(images.shape)


def warps(count: int, rotation: float, shift: float, stream: torch.Generator) -> Tensor:
    """For each image a turn about its centre by up to `rotation` degrees and then a shift (x and y each).

    `shift` is the most in parts of the side. Gives (count, 2, 3) as `affine_grid` wants it.
    """
    angle, x, y = torch.empty(3, count).uniform_(-1, 1, generator=stream)
    angle, x, y = math.radians(rotation) * angle, 2 * shift * x, 2 * shift * y
    cos, sin = angle.cos(), angle.sin()
    # affine_grid asks for each pixel of the result where it comes from: shifted back, then turned back.
    first = torch.stack([cos, sin, -cos * x - sin * y], 1)
    second = torch.stack([-sin, cos, sin * x - cos * y], 1)
    return torch.stack([first, second], 1)


def warp(images: Tensor, drawn: Tensor) -> Tensor:
    """Turns and shifts images (B, H, W, C) by bilinear interpolation, zeros outside; gives float32."""
    x = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(drawn, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, mode="bilinear", align_corners=False)
    return moved.permute(0, 2, 3, 1).contiguous()


def boxes(count: int, probability: float, size: int, stream: torch.Generator, ranges: str = "timm") -> Tensor:
    """For each image the top, left, bottom and right of what is erased, (count, 4); all 0 where nothing is.

    Random erasing (Zhong et al., arXiv 1708.04896) with the areas and ratios of timm or torchvision:
    of up to ten rectangles the first that fits.
    """
    area, aspect, top, left = torch.rand(4, count, ERASE_TRIES, generator=stream)
    hit = torch.rand(count, generator=stream) < probability
    areas, ratios = ERASED[ranges]
    low, high = areas
    area = size * size * (low + (high - low) * area)
    low, high = (math.log(value) for value in ratios)
    aspect = (low + (high - low) * aspect).exp()
    tall, wide = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (tall < size) & (wide < size)
    top, left = (top * (size - tall + 1)).floor(), (left * (size - wide + 1)).floor()
    all_tries = torch.stack([top, left, top + tall, left + wide], 2)
    first = fits.int().argmax(1)
    chosen = all_tries[torch.arange(count), first]
    return (chosen * (hit & fits.any(1))[:, None]).long()


def erase(images: Tensor, drawn: Tensor) -> Tensor:
    """Sets a rectangle of each normalised image (B, C, H, W) to 0, the mean."""
    line = torch.arange(images.shape[-1], device=images.device)
    rows = (line >= drawn[:, 0:1]) & (line < drawn[:, 2:3])
    columns = (line >= drawn[:, 1:2]) & (line < drawn[:, 3:4])
    box = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(box, images.new_zeros(()), images)

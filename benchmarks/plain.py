"""The training loop that most people write, as a reference: PIL transforms, DataLoader, fp32, eager."""

import math
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cbam_ablate import build_model
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data.loader import load_arrays
from cbam_ablate.data.split import split
from cbam_ablate.torchvision_shim import import_torchvision
from cbam_ablate.training.optimizer import build_optimizer, build_schedule


class Pictures(Dataset):
    """Images (N, H, W, C) uint8 and labels, each image through PIL and `transform`."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def train(cfg: RunConfig, device: torch.device, workers: int = 2, test: bool = True) -> tuple[float, float]:
    """Trains as `cfg` says; returns images a second in the last epoch and, with `test`, accuracy (%)."""
    import_torchvision()
    from torchvision import transforms

    arrays = load_arrays(cfg.data)
    rows = split(np.asarray(arrays.train_labels).astype(np.int64), cfg.data).train
    scaled = [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))]
    changed = transforms.Compose([transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), *scaled])
    torch.manual_seed(derive_seed(cfg.seed, "weights"))
    model = build_model(cfg).to(device)
    optimizer = build_optimizer(cfg.optimizer, model)
    loader = DataLoader(
        Pictures(arrays.train_images[rows], arrays.train_labels[rows], changed),
        cfg.train.batch_size, shuffle=True, drop_last=True, num_workers=workers,
    )  # fmt: skip
    lr, step, rate = build_schedule(cfg.schedule, cfg.optimizer.lr, cfg.train.epochs, len(loader)), 0, 0.0
    criterion, running = nn.CrossEntropyLoss(), 0.0
    for _ in range(cfg.train.epochs):
        began = time.perf_counter()
        for images, labels in loader:
            for group in optimizer.param_groups:
                group["lr"] = lr(step)
            loss = criterion(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
            step += 1
        rate = len(loader) * cfg.train.batch_size / (time.perf_counter() - began)
    if not test:
        return rate, math.nan
    model.eval()
    pictures = Pictures(arrays.test_images, arrays.test_labels, transforms.Compose(scaled))
    with torch.inference_mode():
        hits = sum(
            int((model(images.to(device)).argmax(1).cpu() == labels).sum())
            for images, labels in DataLoader(pictures, 500, num_workers=workers)
        )
    return rate, 100 * hits / len(pictures)

"""The training loop that most people write, as a reference: PIL transforms, DataLoader, fp32, eager."""

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


class Plain:
    """A run as `cfg` says, an epoch at a time."""

    def __init__(self, cfg: RunConfig, device: torch.device, workers: int = 2):
        import_torchvision()
        from torchvision import transforms

        scaled = [
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
        ]
        changed = [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), *scaled]
        arrays = load_arrays(cfg.data)
        rows = split(np.asarray(arrays.train_labels).astype(np.int64), cfg.data).train
        torch.manual_seed(derive_seed(cfg.seed, "weights"))
        self.device, self.epochs = device, cfg.train.epochs
        self.model = build_model(cfg).to(device)
        self.optimizer = build_optimizer(cfg.optimizer, self.model)
        training = Pictures(arrays.train_images[rows], arrays.train_labels[rows], transforms.Compose(changed))
        self.train = DataLoader(
            training, cfg.train.batch_size, shuffle=True, drop_last=True, num_workers=workers
        )
        testing = Pictures(arrays.test_images, arrays.test_labels, transforms.Compose(scaled))
        self.test = DataLoader(testing, 500, num_workers=workers)
        self.lr = build_schedule(cfg.schedule, cfg.optimizer.lr, cfg.train.epochs, len(self.train))
        self.step, self.running = 0, 0.0

    def epoch(self) -> dict[str, float]:
        """Trains one; returns its rate, images a second."""
        began = time.perf_counter()
        self.model.train()
        criterion = nn.CrossEntropyLoss()
        for images, labels in self.train:
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr(self.step)
            loss = criterion(self.model(images.to(self.device)), labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.running += loss.item()
            self.step += 1
        return {"rate": len(self.train) * self.train.batch_size / (time.perf_counter() - began)}

    def accuracy(self) -> float:
        """Trains all epochs; returns test top-1 (%)."""
        for _ in range(self.epochs):
            self.epoch()
        self.model.eval()
        with torch.inference_mode():
            hits = sum(
                int((self.model(images.to(self.device)).argmax(1).cpu() == labels).sum())
                for images, labels in self.test
            )
        return 100 * hits / len(self.test.dataset)

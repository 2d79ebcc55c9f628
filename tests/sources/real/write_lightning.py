"""Wrote `lightning/` here, by the CSVLogger of pytorch-lightning 2.6.6."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger

HERE = Path(__file__).parent

for lr in (0.1, 0.001):
    for seed in (0, 1):
        logger = CSVLogger(HERE, name="lightning")
        options = {"lr": lr, "seed": seed, "model": {"width": 4, "act": None}, "root": Path("data/cifar")}
        logger.log_hyperparams(options)
        for epoch in range(3):
            step = 10 * epoch + 9
            logger.log_metrics({"train_loss": 1 / (epoch + 1), "epoch": epoch}, step=step)
            val = {0: 0.6, 1: 0.8, 2: 0.7}[epoch] + lr + seed / 100
            logger.log_metrics({"val_acc": val, "epoch": epoch}, step=step)
        logger.log_metrics({"test_acc": 0.5 + lr + seed / 100, "epoch": 3}, step=30)
        logger.save()

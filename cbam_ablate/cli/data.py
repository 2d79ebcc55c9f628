"""cbam-ablate data [data=cifar10] [data.root=FOLDER] [data.cache=FOLDER]

Fetches a data set where it isn't there yet, decodes it once into the cache, and verifies it.
"""

from cbam_ablate.config import load_config


def main(arguments: list[str]) -> int:
    from cbam_ablate.data import prepare

    # However few images there are: nothing is trained.
    size = [] if any("train.batch_size" in word for word in arguments) else ["train.batch_size=1"]
    for name, value in prepare(load_config([*size, *arguments]), verify=True).items():
        print(f"{name:<10} {value}")
    return 0

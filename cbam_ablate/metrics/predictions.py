"""predictions.npz of a run's folder: what its network gave for each image, to be read without torch.

Logits are float16 and less the greatest of their image, which leaves the probabilities as they are and the
prediction exact. For up to `ALL` classes all are kept; for more the `TOP` greatest with the log of the sum
of exp, the sum of squared probabilities and the true class's logit. `header` is JSON as bytes: whose
predictions these are, of which data set, and a hash of the order of images.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.errors import DataError
from cbam_ablate.metrics.sample import Sample, Top
from cbam_ablate.own import reason_of

FORMAT = 1
ALL = 128
"""Classes up to which every logit is kept."""
TOP = 20
MOST_BYTES = 64 * 2**20
"""Bytes before compression beyond which only the top ones are kept, and of those nothing."""
PARTS = {"test": "test", "last_test": "test", "val": "val"}
"""Of whose predictions a file holds which images: the chosen epoch's, the last one's, and validation's."""
TOP_ARRAYS = ("classes", "logits", "label", "log_sum", "squares")

Arrays = Mapping[str, NDArray[Any]]


class Refused(DataError):
    """Predictions that can't be used; the message says why in a few words."""


@dataclass(frozen=True)
class Predictions:
    """A file's header and arrays, checked against each other."""

    header: dict[str, Any]
    arrays: Arrays

    @property
    def classes(self) -> int:
        return int(self.header["classes"])

    @property
    def parts(self) -> list[str]:
        """The parts that were kept; the last epoch's predictions are test's where it is the chosen one."""
        return [part for part in PARTS if f"{self._stored(part)}_logits" in self.arrays]

    def _stored(self, part: str) -> str:
        same = self.header.get("epoch") is not None and self.header["epoch"] == self.header.get("epochs")
        return "test" if same and part == "last_test" else part

    def order(self, part: str) -> str:
        """The hash of the images of a part, their order and labels: equal for what can be paired."""
        return str(self.header["orders"][PARTS[part]])

    def images(self, part: str) -> NDArray[np.int64]:
        """Numbers (N,) of a part's images in their file."""
        return self.arrays[f"{PARTS[part]}_images"].astype(np.int64)

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        return {}

    def sample(self, part: str) -> Sample:
        """The predictions of test, last_test or val. Raises `Refused` where they weren't kept."""
        if part not in self.parts:
            raise Refused(f"no predictions of {part} were kept")
        part = self._stored(part)
        if part not in self._samples:
            labels = self.arrays[f"{PARTS[part]}_labels"]
            if self.header["kept"] == "all":
                made = Sample.of_logits(labels, self.arrays[f"{part}_logits"])
            else:
                kept = {name: self.arrays[f"{part}_{name}"] for name in TOP_ARRAYS}
                floats = {name: kept[name].astype(np.float64) for name in TOP_ARRAYS[1:]}
                made = Sample.of_top(labels, self.classes, Top(kept["classes"].astype(np.int64), **floats))
            self._samples[part] = made
        return self._samples[part]


def order_hash(dataset: str, part: str, images: NDArray[Any], labels: NDArray[Any]) -> str:
    """A hash of which images of a data set, by their numbers (N,), come in which order with which labels."""
    digest = hashlib.sha256(f"{dataset} {part} {len(labels)}\n".encode())
    for array in (images, labels):
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()


def form_of(classes: int, images: int) -> str | None:
    """What is kept of so many images, all parts together: all, top, or None where both are too large."""
    if classes <= ALL and 2 * classes * images <= MOST_BYTES:
        return "all"
    kept = min(TOP, classes)
    return "top" if (4 * kept + 10) * images <= MOST_BYTES else None


def pack(
    key: str,
    dataset: str,
    classes: int,
    sets: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    outputs: Mapping[str, Arrays],
    **more: Any,
) -> bytes:
    """The content of predictions.npz: the same bytes for the same predictions.

    `sets` are (numbers of images, labels) of test and val, `outputs` by part the arrays that
    `training.outputs` condenses. `more` goes to the header.
    """
    kept = "top" if any("log_sum" in arrays for arrays in outputs.values()) else "all"
    orders = {part: order_hash(dataset, part, *both) for part, both in sets.items()}
    header = {
        "format": FORMAT, "key": key, "dataset_sha256": dataset, "classes": classes, "kept": kept,
        "orders": orders, **more,
    }  # fmt: skip
    small = np.uint8 if classes <= 256 else np.uint32
    arrays = {"header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)}
    for part, (images, labels) in sets.items():
        arrays[f"{part}_images"] = np.asarray(images).astype(np.uint32)
        arrays[f"{part}_labels"] = np.asarray(labels).astype(small)
    arrays |= {f"{part}_{name}": array for part, found in outputs.items() for name, array in found.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in arrays.items():
            inner = io.BytesIO()
            np.lib.format.write_array(inner, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            file.writestr(entry, inner.getvalue(), zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def unpack(content: bytes, key: str, result: Mapping[str, Any] | None = None) -> Predictions:
    """The predictions in a run's file. Raises `Refused` for what is cut short, foreign or doesn't fit.

    `key` is the run's, `result` its result.json, whose data set and top-1 the predictions must have.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise Refused(f"format {header['format']}, this version reads {FORMAT}")
        found = Predictions(header, arrays)
        _check(found, key, result or {})
    except Refused:
        raise
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, DataError) as error:
        raise Refused(f"cut short or not predictions ({reason_of(error)})") from error
    return found


def _check(found: Predictions, key: str, result: Mapping[str, Any]) -> None:
    header = found.header
    if header["key"] != key:
        raise Refused(f"belongs to run {header['key']}")
    expected = (result.get("provenance") or {}).get("dataset_sha256")
    if expected and header["dataset_sha256"] != expected:
        raise Refused(
            f"of another data set ({header['dataset_sha256'][:12]}) than the run's ({expected[:12]})"
        )
    for part in sorted({PARTS[part] for part in found.parts}):
        labels = found.arrays[f"{part}_labels"]
        order = order_hash(header["dataset_sha256"], part, found.images(part), labels)
        if order != header["orders"][part]:
            raise Refused(f"images or labels of {part} are others, or in another order, than its hash says")
    metrics = result.get("metrics") or {}
    for part in PARTS:
        if f"{part}_logits" not in found.arrays:
            continue
        sample, top1 = found.sample(part), metrics.get(f"{part}_top1")
        wanted = (len(sample), found.classes if header["kept"] == "all" else min(TOP, found.classes))
        if found.arrays[f"{part}_logits"].shape != wanted:
            raise Refused(f"logits of {part} of shape {found.arrays[f'{part}_logits'].shape}, not {wanted}")
        if isinstance(top1, int | float) and not sample.broken:
            accuracy = 100 * float(sample.right.mean())
            if abs(accuracy - top1) > CLOSE:
                raise Refused(
                    f"{accuracy:.2f} % of {part} are right, and the run measured {top1:.2f} %: of other "
                    "images, or in another order"
                )


CLOSE = 1.0
"""Points by which top-1 may differ, evaluated on another device or in another number format."""

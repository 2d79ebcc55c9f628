"""Files of pictures as bytes: number formats, and which way up."""

import shutil

import numpy as np
import pytest
from PIL import Image

from cbam_ablate.config.canonical import run_key
from cbam_ablate.data import DataError, discover
from cbam_ablate.data.loader import load_arrays, prepare
from cbam_ablate.registry import facts
from tests.data.folders import CLASSES


def test_16_bit_and_float_images_are_scaled(pics, of):
    for place, name in enumerate(CLASSES):
        shutil.rmtree(pics / name)
        (pics / name).mkdir()
        for number in range(5):
            if place == 2:
                values = np.full((40, 40), 0.25, np.float32)
                Image.fromarray(values).save(pics / name / f"{number}.tif")
            else:
                Image.fromarray(np.full((40, 40), 17800, np.uint16)).save(pics / name / f"{number}.png")
    cfg = of(pics)
    assert facts(cfg.data).channels == 1
    pool = load_arrays(cfg.data)
    assert set(pool.pixels[: 2 * 5 * 37 * 37].tolist()) == {69}
    assert set(pool.pixels[2 * 5 * 37 * 37 :].tolist()) == {64}
    shutil.rmtree(pics / "owl")
    pool = load_arrays(of(pics, "data.range=[0,20000]").data)
    assert set(pool.pixels.tolist()) == {227}


def test_float_images_of_an_unknown_range_are_refused(pics, of):
    Image.fromarray(np.full((40, 40), -900.0, np.float32)).save(pics / "cat" / "scan.tif")
    with pytest.raises(DataError, match=r"cat/scan\.tif: holds values from -900 to 1.*data\.range"):
        load_arrays(of(pics).data)


def test_exif_turns_images_where_asked_and_is_said(pics, of):
    exif = Image.Exif()
    exif[0x0112] = 6
    tall = np.zeros((20, 60, 3), np.uint8)
    tall[:, :30] = 255
    Image.fromarray(tall).save(pics / "cat" / "turned.jpg", exif=exif)
    as_stored, turned = of(pics), of(pics, "data.exif=true")
    row = discover.known(turned.data).paths.index("cat/turned.jpg")
    assert discover.known(as_stored.data).shapes[row].tolist() == [20, 60]
    assert load_arrays(turned.data).shapes[row].tolist() == [111, 37]
    assert run_key(as_stored) != run_key(turned)
    assert "1 with an EXIF orientation, shown as stored; data.exif=true" in str(prepare(as_stored))
    assert "1 with an EXIF orientation, turned by it" in str(prepare(turned))


@pytest.mark.parametrize(("ending", "always"), [("png", False), ("webp", False), ("tif", True)])
def test_exif_turns_images_of_every_format_and_keeps_their_shape(pics, of, ending, always):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, :32] = 255
    Image.fromarray(wide).save(pics / "cat" / f"turned.{ending}", exif=exif, lossless=True)
    for word, turned in (("data.exif=false", always), ("data.exif=true", True)):
        cfg = of(pics, word, "data.store_size=32")
        row, pool = discover.known(cfg.data).paths.index(f"cat/turned.{ending}"), load_arrays(cfg.data)
        start = 3 * int(pool.shapes[:row].prod(1).sum())
        shown = pool.pixels[start : start + wide.size].reshape(*pool.shapes[row], 3)
        # 6: the stored rows run down the right-hand side, so that what was left is at the top.
        assert np.array_equal(shown, np.rot90(wide, -1) if turned else wide)

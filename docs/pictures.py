"""The pictures of the README, from a study's report: make pictures"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
STUDY = "kept_predictions"
SHOWN = ("table.metrics=[test_top1,test_f1_macro]", "table.costs=[params,latency_ms]")
SIZE = (1180, 1120)
SCHEMES = {"dark": 0, "light": 1}
"""What Chromium calls them."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        words = ["report", f"study={STUDY}", f"store={ROOT / 'results' / STUDY}", f"out={folder}", *SHOWN]
        subprocess.run([sys.executable, "-m", "cbam_ablate", *words], check=True)
        for scheme, number in SCHEMES.items():
            picture = ROOT / "docs" / "pictures" / f"report_{scheme}.png"
            picture.parent.mkdir(exist_ok=True)
            words = [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--blink-settings=preferredColorScheme={number}", f"--window-size={SIZE[0]},{SIZE[1]}"),
                *(f"--screenshot={picture}", f"file://{folder}/report.html"),
            ]
            subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
            with Image.open(picture) as shot:
                few = shot.convert("RGB").quantize(64)
            few.save(picture, optimize=True)


if __name__ == "__main__":
    main()

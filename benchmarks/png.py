"""PNGs as augforge writes and reads them, beside OpenCV's of the same pictures.

    python benchmarks/png.py                    # two generated films of 2048x2048, as 8 bits, 16 bits and RGB
    python benchmarks/png.py IMAGE [IMAGE ...]  # your own pictures

Milliseconds of CPU, the least of several turns, on one thread; sizes as a share of OpenCV's. "foreign" is OpenCV's file
read by augforge. Every file is read by OpenCV too, and compared pixel for pixel.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augforge.phantom import write_phantom
from augforge.store.codec import decode_image
from augforge.store.png import encode_png


def cpu_ms(function: Callable[[], Any], turns: int = 7) -> tuple[float, Any]:
    best = float("inf")
    for _ in range(turns):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best * 1e3, result


def opencv_png(image: Any) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def measure(name: str, image: Any) -> str:
    swapped = image if image.ndim == 2 else np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])
    plain_encode, plain = cpu_ms(lambda: opencv_png(swapped))
    plain_decode, _ = cpu_ms(lambda: cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED))
    encode, data = cpu_ms(lambda: encode_png(image))
    decode, found = cpu_ms(lambda: decode_image(data))
    foreign, _ = cpu_ms(lambda: decode_image(plain))
    theirs: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if not np.array_equal(found, image) or not np.array_equal(theirs, swapped):
        raise SystemExit(f"{name}: the pixels that were read are not those that were written")
    columns = [
        f"{plain_encode:.1f} / {encode:.1f} ({encode / plain_encode:.2f})",
        f"{plain_decode:.1f} / {decode:.1f} ({decode / plain_decode:.2f})",
        f"{foreign:.1f}",
        f"{len(plain) / 1e3:,.0f} / {len(data) / 1e3:,.0f} KB ({len(data) / len(plain):.3f})",
    ]
    shape = "x".join(map(str, image.shape))
    return f"| {name} | {shape} {image.dtype} | {' | '.join(columns)} |"


def generated() -> Iterator[tuple[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(folder, persons=1, size=2048, seed=7)
        films = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(Path(folder).rglob("*.png"))]
    for number, film in enumerate(films):
        yield f"film {number + 1}", film
    rng = np.random.default_rng(0)
    yield (
        "film 1, 12 of 16 bits",
        (films[0].astype(np.uint16) * 16 + rng.integers(0, 16, films[0].shape)).astype(np.uint16),
    )
    yield "film 1, RGB", np.stack([films[0], films[0] // 2, 255 - films[0]], axis=-1)


def read(path: str) -> Any:
    return decode_image(Path(path).read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="PNG or JPEG files")
    images = parser.parse_args().images
    cv2.setNumThreads(1)
    columns = ["picture", "shape", *(f"{what}, OpenCV / augforge" for what in ("encode", "decode")), "foreign", "size"]
    print(f"| {' | '.join(columns)} |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, image in ((Path(path).name, read(path)) for path in images) if images else generated():
        print(measure(name, image), flush=True)


if __name__ == "__main__":
    main()

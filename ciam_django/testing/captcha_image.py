"""The picture of every CAPTCHA of the fake: a PNG of 104 by 36 black or white pixels."""

from __future__ import annotations

import base64
from typing import Final

# The picture shows the word FAKE, which ``accounts.CAPTCHA_TEXT`` holds.
CAPTCHA_PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAGgAAAAkAQAAAABN/UIbAAAASElEQVR42p3RsQ0AIAwDQW/g/bfMBiamQNDFQJMr"
    "eCGA7oW5ClB5e0jUh8kSa1cSOeFQJtCieojUFeBuztWV99aBzisN9fl/C3mph/DHNR1DAAAAAElFTkSuQmCC"
)

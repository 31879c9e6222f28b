"""Where Chromium is, for the measurements and tests that look at pages in a real browser."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

"""The status page in headless Chromium."""

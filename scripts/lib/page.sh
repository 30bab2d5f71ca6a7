# shellcheck shell=bash
# The browser that looks at the page of `sockway run` in `make test-node`. Sourced by scripts/setup, not run.

setup_page() { program chromium chromium; }

# SPDX-License-Identifier: MIT
"""What the system tests and the demo are built from."""

"""Web pages in one file each, which open from disk and request nothing from anywhere."""

from anyback_nn.pages.page import build_page, read_asset, write_page

__all__ = ["build_page", "read_asset", "write_page"]

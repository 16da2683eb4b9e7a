"""Arrays with lengths: how sequences are laid out before a layer reads them."""

from recur.sequences.windows import Streams, Window, whole_rows

__all__ = ["Streams", "Window", "whole_rows"]

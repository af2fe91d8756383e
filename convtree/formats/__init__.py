"""Other tools' files: one module each, records out. `FORMATS` lists them in the order in which they are asked."""

from convtree.formats import pi
from convtree.formats.base import Format

FORMATS: tuple[Format, ...] = (pi,)

"""Figures of trainings by one call each: axes of matplotlib in, axes out."""

from .curves import curves as curves
from .paths import paths as paths

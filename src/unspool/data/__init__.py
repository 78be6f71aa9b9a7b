"""Data to learn from: published collections, tables of your own, and their preparation."""

from .cifar import cifar10 as cifar10
from .dataset import Dataset as Dataset
from .dataset import Splits as Splits
from .mnist import fashion_mnist as fashion_mnist
from .mnist import mnist as mnist
from .resize import resize as resize
from .scikit import diabetes as diabetes
from .scikit import digits as digits
from .split import split as split
from .standardize import standardize as standardize
from .table import csv as csv
from .text import text as text

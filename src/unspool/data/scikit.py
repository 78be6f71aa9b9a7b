"""Small data sets that come with scikit-learn."""

from types import ModuleType

import numpy as np

from .dataset import Dataset


def digits() -> Dataset:
    """Loads 1797 gray images of handwritten digits of 8 x 8 pixels, to try things out on.

    Inputs are float32 from 0 (background) to 1, of shape `(1797, 64)`, the rows of an image one
    after the other; targets are int32, the digits.

    **Raises:** `ImportError` without scikit-learn.

    **Example:**

    >>> from unspool import data
    >>> inputs, targets = data.digits()
    >>> inputs.shape, targets[:5].tolist()
    ((1797, 64), [0, 1, 2, 3, 4])

    Source: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI machine learning
    repository, 1998; the part for testing, as scikit-learn has it.
    """
    images, labels = _datasets().load_digits(return_X_y=True)
    return Dataset((images / 16).astype(np.float32), labels.astype(np.int32))


def diabetes() -> Dataset:
    """Loads ten measurements of 442 diabetes patients, and how far the disease got in a year.

    Inputs are float64 of shape `(442, 10)`: age in years, sex as 1 or 2, body mass index in
    kg/m², mean blood pressure in mm Hg, and six serum values, total, low-density and high-density
    cholesterol, the ratio of total to high-density, the logarithm of triglycerides, and glucose.
    They are as measured; `standardize` puts them on one scale. Targets are float64, a score of
    progression from 25 to 346.

    **Raises:** `ImportError` without scikit-learn.

    **Example:**

    >>> from unspool import data
    >>> inputs, targets = data.diabetes()
    >>> inputs.shape, targets[0].item()
    ((442, 10), 151.0)

    Source: Efron, Hastie, Johnstone and Tibshirani, Least angle regression, Annals of Statistics
    32, 2004, as scikit-learn has it.
    """
    measurements, progression = _datasets().load_diabetes(return_X_y=True, scaled=False)
    return Dataset(measurements.astype(np.float64), progression.astype(np.float64))


def _datasets() -> ModuleType:
    # Here and not above: it takes a second, and who reads other data need not have it.
    try:
        import sklearn.datasets
    except ImportError as error:
        raise ImportError(
            "this data set comes with scikit-learn, which is not there: pip install 'unspool[data]'"
        ) from error
    return sklearn.datasets

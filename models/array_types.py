"""NumPy array types for signatures. The end of a variable's name gives the shape: `codes_NL` has the shape (N, L)."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

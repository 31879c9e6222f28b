"""Reads the features of a bundle's items, from which a retraining goes on. The service does not read them.

Shapes: R items, E feature columns.
"""

import numpy as np

from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.checksums import check_file
from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.layout import FEATURES


def read_item_features(bundle: Bundle) -> FloatArray:
    """Opens the features of a bundle's items as a memory-mapped array, after the check of the file's checksum.

    Args:
        bundle: The bundle.

    Returns:
        The features in the row order of `Bundle.items`, float32, shape (R, E).

    Raises:
        BundleError: If the bundle has no features, or the file is damaged or has another shape.
    """
    manifest, folder = bundle.manifest, bundle.path
    if not manifest.has_features:
        raise BundleError(
            f"bundle {folder} lacks the features of its items ({FEATURES}), because an older release published it: "
            "publish it again with `rqrec train`, which reuses the trained stages"
        )
    check_file(folder, FEATURES, manifest.checksums.get(FEATURES))
    with reading(folder, FEATURES):
        features_RE: FloatArray = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
        expected = manifest.num_items, manifest.retriever_config.feature_dim
        if features_RE.dtype != np.float32 or features_RE.shape != expected:
            raise ValueError(f"expected float32 of shape {expected}, got {features_RE.dtype} of {features_RE.shape}")
    return features_RE

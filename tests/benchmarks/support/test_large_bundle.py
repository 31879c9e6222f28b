"""Bundles with copies of a trained bundle's items."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.support import large_bundle, synthetic
from rqrec.models.bundle.bundle import Bundle, read_bundle


def test_a_bundle_with_another_number_of_codes_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs a bundle with 256 codes per level and a map, but .* 16 codes"):
        large_bundle.enlarged(bundle, tmp_path, 100)


def test_an_enlarged_bundle_is_whole(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (large_bundle, synthetic):
        monkeypatch.setattr(module, "CODEBOOK_SIZE", bundle.manifest.codebook_size)
    monkeypatch.setattr(synthetic, "QUANTISED_LEVELS", bundle.learned.codes_RL.shape[1] - 1)
    large = read_bundle(large_bundle.enlarged(bundle, tmp_path, 200))
    assert large.items["item_id"].n_unique() == len(large.learned.codes_RL) == 200
    assert large.items["title"][64].startswith(bundle.items["title"][0])
    assert large.map is not None
    assert np.abs(large.map.places_R2[64] - large.map.places_R2[0]).max() < 0.3
    assert large.meanings is not None
    assert len(large.manifest.golden) == len(bundle.manifest.golden)

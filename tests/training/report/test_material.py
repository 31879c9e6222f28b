import numpy as np
import pytest

from rqrec.training.features.features import load_features
from rqrec.training.report import material
from rqrec.training.report.material import Material
from rqrec.training.run import Run


def test_a_large_catalogue_is_sampled(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "MAX_SAMPLED", 20)
    monkeypatch.setattr(material, "MAX_COMPARED", 10)
    loaded, features_NE = Material.load(trained._trained, [trained.rqvae]), load_features(trained.features).features_NE
    assert len(np.unique(loaded.sample_S)) == 20
    assert (np.diff(loaded.sample_S) > 0).all()
    assert (loaded.features_SE == features_NE[loaded.sample_S]).all()
    assert len(loaded.latents_SD) == 20
    popularity_C = loaded.popularity_N[loaded.compared_C]
    assert popularity_C.tolist() == sorted(loaded.popularity_N.tolist(), reverse=True)[:10]
    assert (loaded.features_CE == features_NE[loaded.compared_C]).all()
    assert loaded.names(np.array([0])) == ["Animation 100"]
    assert list(loaded.curves) == ["rqvae"]

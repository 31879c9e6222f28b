from pathlib import Path

from benchmarks.large.data import measure, write_release


def test_a_small_release_goes_the_whole_way(tmp_path: Path) -> None:
    folder = tmp_path / "ml-25m"
    write_release(folder, ratings=40_000, users=300, movies=200, vector_dim=8)
    found = measure(folder, tmp_path / "work")
    assert found["items"] == 200
    assert 20_000 < found["interactions"] < 60_000
    assert found["positions"] > 1000
    assert found["total_s"] > 0
    assert found["peak_gb"] > 0

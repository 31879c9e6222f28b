from pathlib import Path

import pytest

import training.pipeline  # noqa: F401 - registers every stage's settings
from training.config import ConfigError, load_config, resolved_config
from training.train_decoder import DecoderSettings

CONFIGS = sorted(Path("configs").glob("*.gin"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_in_the_repository_can_be_read(path: Path) -> None:
    load_config([path])
    assert resolved_config()


def test_bindings_override_files(tmp_path: Path) -> None:
    file = tmp_path / "a.gin"
    file.write_text("DecoderSettings.width = 32\nDecoderSettings.epochs = 3\n")
    load_config([file], ["DecoderSettings.epochs = 7"])
    settings = DecoderSettings()
    assert (settings.width, settings.epochs) == (32, 7)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("DecoderSettings.widht = 3", "doesn't have a parameter named 'widht'"),
        ("DecodrSettings.width = 3", "No configurable matching 'DecodrSettings'"),
        ("DecoderSettings.width = (", "cannot use configuration"),
    ],
)
def test_an_unknown_or_malformed_parameter_is_an_error(binding: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config([], [binding])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.gin"):
        load_config([tmp_path / "nowhere.gin"])


def test_a_new_configuration_forgets_the_old_one() -> None:
    load_config([], ["DecoderSettings.width = 32"])
    load_config([])
    assert DecoderSettings().width == 128

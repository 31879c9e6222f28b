from pathlib import Path

import pytest

from rqrec.training.data.download import RELEASES
from rqrec.training.run import RunSettings
from rqrec.training.runtime.config import ConfigError, read_settings, settings_as_gin

CONFIGS = sorted(Path("configs").glob("*.gin"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_in_the_repository_can_be_read(path: Path) -> None:
    assert read_settings(RunSettings, [path]).dataset.source in RELEASES


def test_bindings_override_files(tmp_path: Path) -> None:
    file = tmp_path / "a.gin"
    file.write_text("DecoderSettings.width = 32\nDecoderSettings.epochs = 3\n")
    settings = read_settings(RunSettings, [file], ["DecoderSettings.epochs = 7"]).decoder
    assert (settings.width, settings.epochs) == (32, 7)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("DecoderSettings.widht = 3", r"a parameter named 'widht': did you mean DecoderSettings\.width\?$"),
        ("DecoderSettings.EPOCH = 3", r"a parameter named 'EPOCH': did you mean DecoderSettings\.epochs\?$"),
        ("DecoderSettings.zzz = 3", r"a parameter named 'zzz': use one of accumulate, .*, width$"),
        (
            "DecodrSettings.epoch=3",
            r"--set DecodrSettings.epoch=3: there is no such class of settings: did you mean DecoderSettings\.epochs\? "
            r"The classes are DatasetSettings, DecoderSettings, .*, SplitSettings$",
        ),
        (
            "decoder.zzz=3",
            r"no such class of settings: did you mean DecoderSettings\? The classes are DatasetSettings, ",
        ),
        ("Zzz.epochs=3", r"no such class of settings: use one of DatasetSettings, DecoderSettings, .*, SplitSettings$"),
        ("DecoderSettings.width = (", "cannot use --set"),
        ("DecoderSettings.width = 10", r"DecoderSettings: width must be a multiple of num_heads, got 10 and 4"),
        ("DecoderSettings.dropout = 1.0", r"DecoderSettings\.dropout: must be less than 1, got 1\.0"),
        ("DecoderSettings.epochs = 'many'", r"DecoderSettings\.epochs: must be a valid integer.*got 'many'"),
        ("DecoderSettings.epochs = 0", r"DecoderSettings\.epochs: must be greater than 0, got 0"),
        ("RqVaeSettings.codebook_size = 1", r"codebook_size: must be 'auto' or a whole number of at least 2, got 1"),
        ("RqVaeSettings.num_levels = 'many'", r"num_levels: must be 'auto' or a whole number .*, got 'many'"),
        ("RqVaeSettings.mode = 'soft'", r"RqVaeSettings\.mode: must be 'gumbel_softmax', .*got 'soft'"),
        ("RqVaeSettings.hidden_widths = (16, -1)", r"RqVaeSettings\.hidden_widths\.1: must be greater than 0, got -1"),
        ("FeatureSettings.collaborative_dim = -1", r"collaborative_dim: must be greater than or equal to 0, got -1"),
        ("SemanticIdSettings.max_collision_ratio = 2", r"max_collision_ratio: must be less than or equal to 1, got 2"),
        ("EvaluationSettings.ks = (5, 50)", r"EvaluationSettings: ks and profile_k must be <= list_length"),
    ],
)
def test_an_unknown_or_unusable_parameter_is_an_error(binding: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(RunSettings, [], [binding])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.gin"):
        read_settings(RunSettings, [tmp_path / "nowhere.gin"])


def test_a_new_configuration_forgets_the_old_one() -> None:
    read_settings(RunSettings, [], ["DecoderSettings.width = 32"])
    assert read_settings(RunSettings, []) == RunSettings()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_settings_as_text_give_the_same_settings(path: Path, tmp_path: Path) -> None:
    settings = read_settings(RunSettings, [path], ["RqVaeSettings.mode = 'rotation_trick'"])
    file = tmp_path / "again.gin"
    file.write_text(settings_as_gin(settings))
    assert read_settings(RunSettings, [file]) == settings


@pytest.mark.parametrize(
    ("binding", "value"),
    [
        ("FeatureSettings.text_encoder=lsa", "lsa"),
        ("FeatureSettings.text_encoder = 'lsa'", "lsa"),
        (
            "FeatureSettings.text_encoder=sentence-transformers/all-MiniLM-L6-v2",
            "sentence-transformers/all-MiniLM-L6-v2",
        ),
        ("FeatureSettings.text_encoder=my_package:load", "my_package:load"),
        ("FeatureSettings.text_encoder=/a folder/it's", "/a folder/it's"),
    ],
)
def test_text_of_the_command_line_needs_no_quotes(binding: str, value: str) -> None:
    assert read_settings(RunSettings, [], [binding]).features.text_encoder == value


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("DecoderSettings.epochs=three", r"DecoderSettings\.epochs: must be a valid integer.*got 'three'"),
        ("DecoderSettings.epochs=", r"--set DecoderSettings\.epochs=: expected a setting and its value"),
        ("DecoderSettings.epochs", "expected a setting and its value"),
        ("DecoderSettings=3", "expected a setting and its value"),
        ("epochs=3", "expected a setting and its value"),
        ("a/DecoderSettings.epochs=3", "expected a setting and its value"),
        ("=3", "expected a setting and its value"),
        ("DecoderSettings.epochs='3", "expected a setting and its value"),
        ("x=y\nz", "expected a setting and its value"),
        ("DatasetSettings.quotes=maybe", r"DatasetSettings\.quotes: must be a valid boolean.*got 'maybe'"),
    ],
)
def test_a_binding_that_cannot_be_used_is_one_line(binding: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_settings(RunSettings, [], [binding])
    assert "\n" not in str(caught.value).replace(binding, "")


def test_a_file_is_included_from_beside_the_file_that_includes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "a.gin").write_text("include 'sub/b.gin'\ninclude 'c.gin'\n")
    (tmp_path / "sub" / "b.gin").write_text(
        "include 'decoder.gin'\ninclude 'deep/d.gin'\nFeatureSettings.lsa_dim = 7\n"
    )
    (tmp_path / "sub" / "deep" / "d.gin").write_text("DecoderSettings.epochs = 77\n")
    (tmp_path / "c.gin").write_text("FeatureSettings.collaborative_dim = 9\n")
    monkeypatch.chdir("/")
    settings = read_settings(RunSettings, [tmp_path / "a.gin"])
    assert (settings.features.lsa_dim, settings.decoder.epochs, settings.features.collaborative_dim) == (7, 77, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FeatureSettings.text_encoder = lsa\n", r"'lsa' is no value of Python: put text in quotes.*a\.gin, line 1"),
        ("include 'a.gin'\n", "its files include each other"),
        ("include 'nope.gin'\n", r"there is no file 'nope\.gin'.*line 1"),
        ("DecodrSettings.width = 3\n", r"a\.gin\", line 1 .*: did you mean DecoderSettings\? The classes are Dataset"),
        ("FeatureSettings.lsa_dim = @x()\n", "No configurable matching"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.gin"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_settings(RunSettings, [file])
    assert "\n" not in str(caught.value)

"""Puts the text encoder into a bundle: a new export, or after a retraining the files of the bundle before."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import TEXT_FILES
from rqrec.models.tokenizer.featurizer import TEXT, Featurizer
from rqrec.training.data.dataset import Dataset
from rqrec.training.features.text import LSA
from rqrec.training.features.text_export_process import text_encoder_export


def copy_text_encoder(parent: Bundle, folder: Path) -> str:
    """Copies the text encoder of a bundle.

    Args:
        parent: The bundle.
        folder: The folder of the new bundle.

    Returns:
        The reason why there is none; an empty text if there is one.
    """
    if not parent.manifest.no_text_encoder:
        for name in TEXT_FILES:
            shutil.copyfile(parent.path / name, folder / name)
    return parent.manifest.no_text_encoder


@contextmanager
def exported_text_encoder(
    folder: Path, dataset: Dataset, featurizer: Featurizer, encoder: str
) -> Iterator[Callable[[], str]]:
    """Writes the text encoder during the block.

    Args:
        folder: The bundle's folder.
        dataset: The data set, whose items have the texts.
        featurizer: Says of which attributes a text consists.
        encoder: Name of the encoder; see `training.features.text.encode_texts`.

    Yields:
        A function that waits for its end. It returns the reason why the bundle has no text encoder; an empty text if it
        has one.
    """
    if featurizer.given_block(TEXT) is None:
        yield lambda: "the model reads no text"
    elif encoder == LSA:
        yield lambda: f"the text encoder {LSA!r} can encode the texts of training only"
    else:
        texts = [text for text in featurizer.texts(dataset.items) if text]
        with text_encoder_export(encoder, texts, folder) as exported:
            yield exported

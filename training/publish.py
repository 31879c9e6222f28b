"""Stage: all that training made → a bundle, the versioned folder that the service loads."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from safetensors.torch import save_file

from models.bundle import (
    FORMAT,
    ITEMS,
    ITEMS_GRAPH,
    RETRIEVER_WEIGHTS,
    SEARCH_GRAPH,
    TOKENIZER_GRAPH,
    TOKENIZER_WEIGHTS,
    Manifest,
    new_directory,
    point_current,
    read_bundle,
    seal_bundle,
)
from models.export import export_item_encoder, export_search, export_tokenizer
from models.trie import SemanticIdTrie
from training.baselines import item_popularity
from training.config import resolved_config
from training.data.dataset import ITEM_ID
from training.data.prepare import load_prepared, prepare_data
from training.data.splits import leave_one_out, user_sequences
from training.evaluate import evaluate, load_results
from training.tokenize_items import load_semantic_ids, tokenize_items
from training.train_decoder import load_retriever, train_decoder
from training.train_rqvae import load_rqvae, train_rqvae
from training.workspace import Stage, Workspace

BUNDLES = "bundles"


@dataclass(frozen=True)
class _Format:
    bundle_format: int = FORMAT


def publish(workspace: Workspace) -> Stage:
    """Runs the stage: writes `bundles/<version>` below the workspace's root and lets `bundles/current` name it.

    The version is the data set's name and the key of everything that the bundle was made from.
    """
    data, tokens = prepare_data(workspace), tokenize_items(workspace)
    rqvae, decoder, evaluation = train_rqvae(workspace), train_decoder(workspace), evaluate(workspace)

    def write(directory: Path) -> None:
        dataset, ids = load_prepared(data), load_semantic_ids(tokens)
        retriever, tokenizer = load_retriever(decoder), load_rqvae(rqvae)
        trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
        version = f"{dataset.name}-{decoder.key}"
        bundle = workspace.root / BUNDLES / version
        with new_directory(bundle) as folder:
            save_file(retriever.state_dict(), folder / RETRIEVER_WEIGHTS)
            save_file(tokenizer.state_dict(), folder / TOKENIZER_WEIGHTS)
            export_tokenizer(tokenizer, folder / TOKENIZER_GRAPH)
            export_item_encoder(retriever, folder / ITEMS_GRAPH)
            export_search(retriever, trie, folder / SEARCH_GRAPH)
            popularity_N = item_popularity(leave_one_out(user_sequences(dataset)).train, len(dataset.items))
            vectors = [name for name, dtype in dataset.items.schema.items() if isinstance(dtype, pl.Array)]
            dataset.items.drop(vectors).with_columns(
                pl.Series("semantic_id", ids.codes_NL.astype("int32")), pl.Series("popularity", popularity_N)
            ).select(
                ITEM_ID, "semantic_id", "popularity", pl.exclude(ITEM_ID, "semantic_id", "popularity")
            ).write_parquet(folder / ITEMS)
            manifest = Manifest(
                format=FORMAT,
                version=version,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                dataset=dataset.name,
                data_fingerprint=dataset.fingerprint,
                num_items=len(dataset.items),
                retriever=asdict(retriever.config),
                tokenizer=asdict(tokenizer.config),
                metrics=load_results(evaluation),
                config=resolved_config(),
                checksums={},
            )
            seal_bundle(folder, manifest)
        read_bundle(bundle)
        point_current(bundle.parent, version)
        (directory / "bundle.json").write_text(json.dumps({"version": version}), encoding="utf-8")

    return workspace.run("publish", inputs=[data, tokens, rqvae, decoder, evaluation], settings=_Format(), write=write)

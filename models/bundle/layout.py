"""The layout of a bundle: the files in its folder, and the formats that this release reads.

manifest.json          format, version, sizes, data fingerprint, metrics, configuration, checksums, and golden answers:
                       recommendations that the service must reproduce before it uses the model
retriever.safetensors  weights of the retriever
tokenizer.safetensors  weights of the RQ-VAE
tokenizer.onnx         graph of the RQ-VAE: features of items → all codes of the items but the last, the collision code
search.onnx            graph of the search: histories → best items, with log-probabilities and scores
search_fp16.onnx       graph of the same search in half precision, for a GPU (optional)
featurizer.json        how the features of an item are computed from its attributes
projection.npy         matrix that projects features to content vectors
contents.npy           the content vector of each item, with which new items are compared
items.parquet          one row per item: a column item_id, and one column per attribute, of any name
learned_items.parquet  semantic_id, popularity and item_vector of each item, in the row order of items.parquet
transitions.parquet    the items that followed each item in training, in the row order of items.parquet (optional)
item_vectors.npy       the vectors of the items of a large catalogue, in the order of their semantic IDs, in place of
                       those in learned_items.parquet; the service maps this file and the next ones into its memory
following_*.npy        three arrays: the transitions of a large catalogue, in place of transitions.parquet
new_*.npy              four arrays: the index of the items of a large catalogue that nobody chose in training
content_*.npy          two arrays: the clusters of the contents of a large catalogue
text_encoder.onnx      graph of the sentence encoder: tokens of texts → vectors of texts (optional)
text_tokenizer.json    the tokenizer of the sentence encoder: text → tokens (optional)
meanings.parquet       what the items below each prefix of semantic IDs have in common (optional)
map.npy                the place of each item on a map of the catalogue, in the row order of items.parquet (optional)
features.npy           the features of each item, for a retraining; the service does not read it (optional)
report.html            the training report, a page for people (optional)
"""

from collections.abc import Mapping
from itertools import chain

# Since 8, attributes and learned data of the items are two files; since 9, it includes the text encoder; since 10, the
# featurizer scores numbers by their rank among the numbers of training, the manifest names event types, the search in
# half precision may be missing, the retriever may have a short-term encoder and long-term vectors, there may be a table
# of transitions, the items' features, the meaning of codes and a map, the search graph may return prefixes, the arrays
# of large catalogues are files to be mapped, and the manifest says until when and from what the model has learnt.
FORMAT = 10
READABLE_FORMATS = (9, 10)
# The releases that read each format; see CHANGELOG.md.
RELEASES: Mapping[int, str] = {7: "0.1", 9: "0.2", 10: "0.3"}

MANIFEST = "manifest.json"
ITEMS, LEARNED_ITEMS, TRANSITIONS = "items.parquet", "learned_items.parquet", "transitions.parquet"
RETRIEVER_WEIGHTS, TOKENIZER_WEIGHTS = "retriever.safetensors", "tokenizer.safetensors"
TOKENIZER_GRAPH = "tokenizer.onnx"
SEARCH_GRAPH, HALF_SEARCH_GRAPH = "search.onnx", "search_fp16.onnx"
FEATURIZER, PROJECTION, CONTENTS = "featurizer.json", "projection.npy", "contents.npy"
GRAPHS = (TOKENIZER_GRAPH, SEARCH_GRAPH)
FILES = (RETRIEVER_WEIGHTS, TOKENIZER_WEIGHTS, *GRAPHS, FEATURIZER, PROJECTION, CONTENTS, ITEMS, LEARNED_ITEMS)
ITEM_VECTORS = "item_vectors.npy"
FOLLOWING = ("following_starts.npy", "following_items.npy", "following_strengths.npy")
CONTENT_CLUSTERS = ("content_centroids.npy", "content_clusters.npy")
NEW_VECTORS, NEW_ITEMS = "new_vectors.npy", ("new_leaves.npy", "new_centroids.npy", "new_clusters.npy")
LARGE_FILES = (ITEM_VECTORS, NEW_VECTORS, CONTENTS, *FOLLOWING)  # files to be mapped that take long to read
MAPPED_FROM = (
    100_000  # items from which a catalogue is published with files to be mapped; older releases cannot read them
)
TEXT_ENCODER_GRAPH, TEXT_TOKENIZER = "text_encoder.onnx", "text_tokenizer.json"
TEXT_FILES = (TEXT_ENCODER_GRAPH, TEXT_TOKENIZER)
MEANINGS, MAP = "meanings.parquet", "map.npy"
FEATURES, REPORT = "features.npy", "report.html"
CURRENT = "current"  # the link in a folder of bundles that names the bundle to serve


def needed_files(
    *, half_search: bool, is_mapped: bool, transitions: bool, insight: bool, text_encoder: bool
) -> tuple[str, ...]:
    """Returns the names of the files of a bundle that the service reads at its start, without `manifest.json`.

    Args:
        half_search: Whether the bundle has a search graph in half precision.
        is_mapped: Whether it has the arrays of a large catalogue as files that are mapped into memory.
        transitions: Whether it has the items that followed each item.
        insight: Whether it has the meaning of codes and a map.
        text_encoder: Whether it has a text encoder.
    """
    optional = (
        ((HALF_SEARCH_GRAPH,), half_search),
        ((ITEM_VECTORS, *CONTENT_CLUSTERS, NEW_VECTORS, *NEW_ITEMS), is_mapped),
        (FOLLOWING if is_mapped else (TRANSITIONS,), transitions),
        ((MEANINGS, MAP), insight),
        (TEXT_FILES, text_encoder),
    )
    return (*FILES, *chain.from_iterable(names for names, is_there in optional if is_there))


def format_advice(found: object) -> str:
    """Returns what to do with a bundle of a format that this release does not read.

    Args:
        found: The format that the manifest names, of any type.
    """
    if isinstance(found, int) and found > max(READABLE_FORMATS):
        return "install a newer release of rqrec, or publish the bundle again with this release"
    release = RELEASES.get(found) if isinstance(found, int) else None
    if release is None:
        return "no release of rqrec reads it; publish the bundle again with `make run`"
    return f"install rqrec {release}, which reads it, or publish the bundle again with `make run`"

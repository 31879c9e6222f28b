"""What one model needs to look into its catalogue: items like one, search by words, and attributes."""

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.browse.attributes import Attributes
from rqrec.service.browse.search import WordSearch
from rqrec.service.browse.similar import SimilarItems
from rqrec.service.browse.spaces import Contents, LearnedVectors
from rqrec.service.browse.title_attribute import title_attribute
from rqrec.service.browse.titles import Titles
from rqrec.service.catalogue.snapshot import Snapshot


class Browser:
    """Looks into the catalogue of one model. Each part makes its index when it is first asked, in the asking thread.

    Args:
        bundle: The bundle of the model.
        published: The state of the published model.
        tokenizer: The model's item tokenizer.

    Attributes:
        similar: Finds the items that are most like one item.
        words: Finds items by words.
        attributes: Describes the attributes.
    """

    def __init__(self, bundle: Bundle, published: Snapshot, tokenizer: ItemTokenizer) -> None:
        contents = Contents(published, bundle.contents_RP)
        title = title_attribute(published.filters.bundle_items, bundle.featurizer.text_attributes)
        popularity_N = bundle.learned.popularity_R[published.trie.row_of_leaf_N]
        titles = None if title is None else Titles(published, title, popularity_N)
        self.similar = SimilarItems(LearnedVectors(published), contents)
        self.words = WordSearch(titles, contents, tokenizer)
        self.attributes = Attributes(title)

import gc
import weakref

from rqrec.service.serving.open_models import exclude_from_collection


class Node:
    """A part of a model that refers to itself, so that only a collection removes it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_stopped_is_removed_and_what_is_left_is_visited_no_more() -> None:
    model = Node()
    gc.freeze()  # as after the model was loaded
    gone, model = weakref.ref(model), Node()
    try:
        exclude_from_collection()
        assert gone() is None
        assert gc.get_freeze_count() > 0
        assert not any(one is model for one in gc.get_objects())
    finally:
        gc.unfreeze()

"""One recommendation: item ids → leaves → search → items."""

import time
import uuid
from collections.abc import Sequence
from typing import Literal

import numpy as np

from models.recommender import Ranking
from models.trie import NO_LEAF, IntArray, SemanticIdTrie
from service.catalogue import Item, SemanticId
from service.engine import Engine, Snapshot
from service.schemas import Recommendation, RecommendReply, RecommendRequest


async def recommend(request: RecommendRequest, engine: Engine, snapshot: Snapshot) -> RecommendReply:
    """Answers a validated request from one snapshot."""
    begin = time.perf_counter()
    metrics, trie = engine.metrics, snapshot.trie
    with metrics.stage("encode"):
        found = await snapshot.catalogue.semantic_ids([*request.history, *request.exclude])
        leaves = find_leaves(trie, found.values)
    history, excluded = leaves[: len(request.history)], leaves[len(request.history) :]
    unknown = [item_id for item_id, leaf in zip(request.history, history, strict=True) if leaf < 0]
    known = history[history >= 0]
    if request.exclude_history:
        excluded = np.concatenate([excluded, known])
    eligibility = await engine.eligibility(snapshot, request.filter)
    excluded = np.unique(excluded[excluded >= 0])
    excluded = excluded[eligibility.allows(excluded)]
    with metrics.stage("search"):
        if len(known):
            beam_width = request.beam_width or engine.settings.beam_width
            best = await engine.search(snapshot, known, excluded, eligibility, k=request.k, beam_width=beam_width)
        else:
            best = snapshot.recommender.popular(k=request.k, excluded=excluded, eligibility=eligibility)
    with metrics.stage("lookup"):
        codes = [tuple(row) for row in trie.codes_of(best.leaves_K).tolist()]
        looked_up = await snapshot.catalogue.items(codes)
    degraded = found.degraded or looked_up.degraded
    fallback: Literal["popular", "degraded"] | None = "popular" if not len(known) else "degraded" if degraded else None
    items = _ranked(looked_up.values, best)
    metrics.unknown_history_items.inc(len(unknown))
    metrics.invalid_beams.inc(len(best.leaves_K) - len(items))
    metrics.short_results.inc(len(items) < request.k)
    if fallback is not None:
        metrics.fallbacks.labels(fallback).inc()
    return RecommendReply(
        recommendation_id=str(uuid.uuid4()),
        model_version=snapshot.version,
        catalogue_version=0,
        took_ms=(time.perf_counter() - begin) * 1000,
        items=items,
        unknown_items=unknown,
        eligible_items=eligibility.count - len(excluded),
        fallback=fallback,
    )


def find_leaves(trie: SemanticIdTrie, semantic_ids: Sequence[SemanticId | None]) -> IntArray:
    """The leaf of each semantic ID, -1 for None and for what the trie does not hold."""
    absent = (NO_LEAF,) * trie.num_levels
    rows = [codes if codes is not None and len(codes) == len(absent) else absent for codes in semantic_ids]
    return trie.find(np.array(rows, dtype=np.int64).reshape(-1, len(absent)))


def _ranked(items: Sequence[Item | None], ranking: Ranking) -> list[Recommendation]:
    rows = zip(items, ranking.log_probs_K.tolist(), ranking.scores_K.tolist(), strict=True)
    found = [(item, log_prob, score) for item, log_prob, score in rows if item is not None]
    return [
        Recommendation(
            item_id=item.item_id,
            rank=rank,
            score=score,
            log_prob=log_prob,
            semantic_id=list(item.semantic_id),
            payload=item.payload,
        )
        for rank, (item, log_prob, score) in enumerate(found, start=1)
    ]

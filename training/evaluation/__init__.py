"""Evaluation: metrics, baselines, and the ranked lists they are computed from."""

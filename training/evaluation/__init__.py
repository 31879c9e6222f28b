"""Evaluation: metrics, baselines and the lists that they are computed on."""

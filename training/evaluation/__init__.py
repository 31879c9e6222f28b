"""Evaluation: recommendation lists for test users, ranking metrics, and baselines to compare with."""

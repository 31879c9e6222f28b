"""Generative recommendation as a microservice: semantic IDs by RQ-VAE, retrieval by constrained generation.

The repository's folders models/, training/ and service/ are installed as `rqrec.models`, `rqrec.training` and
`rqrec.service`, so that no name of ours stands at the top of a user's site-packages. In the repository, links in this
folder lead to them.
"""

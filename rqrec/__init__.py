"""Generative recommendation as a microservice: semantic IDs by RQ-VAE, retrieval by constrained generation.

The repository's folders models/, training/, service/ and configs/ are installed below this package, so that the package
adds only one name to a user's site-packages. In the repository, this folder has symbolic links to those folders.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("rqrec")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

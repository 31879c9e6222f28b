"""The bundle: the versioned folder in which training hands a model to the service."""

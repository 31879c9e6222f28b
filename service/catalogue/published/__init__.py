"""The items of the bundle, the published model: their content and their ids."""

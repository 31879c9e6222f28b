"""HTTP: routes, bodies, problems and what surrounds every request."""

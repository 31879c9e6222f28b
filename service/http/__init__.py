"""HTTP: routes, bodies, problem details, and the middleware around every request."""

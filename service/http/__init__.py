"""HTTP: the routes, the reading of bodies, the error answers, and the middleware around every request."""

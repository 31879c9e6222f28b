"""The bodies of requests and replies, shared by the service and the client. OpenAPI is generated from them."""

"""TorchServe behind the web service: connections, tokens in an event loop, and both APIs as far as they are used."""

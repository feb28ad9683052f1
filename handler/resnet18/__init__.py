"""Image classification in plain modules: nothing here knows about TorchServe, and everything is tested without it."""

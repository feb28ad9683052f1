"""The public web service: passes pictures on to TorchServe, which stays on loopback, and never decodes them itself."""

"""Python client of the inference and management APIs.

Nothing is imported here, so that each part costs only what it uses: ``client.inference.InferenceClient`` classifies
pictures, ``client.management.ManagementClient`` operates TorchServe, ``client.errors`` is what they raise.
"""

"""Python client of the inference and management APIs; it needs ``requests`` and nothing else.

Nothing is imported here, so that each part costs only what it uses: ``marserve.client.inference.InferenceClient``
classifies pictures, ``marserve.client.management.ManagementClient`` operates TorchServe, and ``marserve.client.errors``
shows what they raise.
"""

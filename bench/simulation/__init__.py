"""The autoscaler's policy against a simulated TorchServe, by discrete events."""

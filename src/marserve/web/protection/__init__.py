"""What stands between the world and TorchServe: keys, rates, sizes and numbers."""

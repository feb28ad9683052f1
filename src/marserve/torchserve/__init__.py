"""How TorchServe talks: its key file, models, logs, metrics and configuration."""

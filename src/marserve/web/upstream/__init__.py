"""Everything that knows how TorchServe talks: its tokens, its errors, its two APIs."""

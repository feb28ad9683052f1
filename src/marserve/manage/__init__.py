"""What changes a running stack, and its status: workers are scaled and brought back, versions replaced and drained."""

"""What the planner predicts of one pod, beside what a real one does at the same arrivals."""

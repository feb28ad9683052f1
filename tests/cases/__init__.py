"""What people really send and keep, a module a kind: each case with its right answer, easy to add to."""

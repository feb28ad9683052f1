"""What ``scripts/manage.py`` does to a running stack: look at it, scale it, change its versions, bring workers back."""

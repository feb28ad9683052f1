"""The engines that turn pictures into probabilities, behind one interface (``base.Engine``)."""

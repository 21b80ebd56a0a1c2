"""What clients and server compute in a round; how it travels is not their business."""

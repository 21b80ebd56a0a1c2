"""What a server could learn: attacks that read a recorded view and the public model."""

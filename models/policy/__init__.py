"""What to do about it: campaigns as data, gates in order, one winner for a customer and moment, holdouts."""

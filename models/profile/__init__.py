"""What is known of one customer: a frozen value made of small frozen parts, each updated by its own functions."""

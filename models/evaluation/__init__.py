"""What decisions came to: effects read off holdouts, sample sizes, volumes."""

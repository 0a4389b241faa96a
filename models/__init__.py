"""What Rapport thinks: profiles, features, online models, decisions. Pure: no IO, no clock, no global randomness."""

"""What every exchange's sessions need, written once."""

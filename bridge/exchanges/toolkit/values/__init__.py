"""What rows and fields of frames say, and what is wrong with them."""

"""What an issue report needs, in one file and without secrets."""

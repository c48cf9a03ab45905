"""Project layers onto their first k directions, and what that is worth."""

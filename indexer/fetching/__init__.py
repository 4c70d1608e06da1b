"""What comes from outside: URLs and object stores, hostile until checked."""

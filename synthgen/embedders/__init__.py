"""Networks that turn images into features; one file a kind."""

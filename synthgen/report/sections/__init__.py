"""One file a question of the report: each turns what a verb measured (JSON) into a `Section`, and measures nothing."""

"""Ways to hand shards to processes: `ranks` (one process, or those of accelerate) and `cluster` (Ray tasks)."""

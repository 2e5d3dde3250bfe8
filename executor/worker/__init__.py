"""What one worker does: the schedule's ops, op by op, on real tensors or in emulated time."""

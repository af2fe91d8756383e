"""What everything else speaks of: entries, messages, errors, findings. Imports nothing of convtree above it."""

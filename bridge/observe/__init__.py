"""What a process shows of itself: status, health, metrics, logs."""

"""What probes and pretraining share: batched augmentation, optimisers, schedules."""

"""Floor 3: the producers' door. What enqueues, asks and steers; nothing here runs a job."""

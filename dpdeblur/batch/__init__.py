"""Many photos: found, planned, decoded apart, worked on side by side, on one machine or many."""

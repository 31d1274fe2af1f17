"""Taking part: what a task gives a participant, local training, and one contribution from hold to publication."""

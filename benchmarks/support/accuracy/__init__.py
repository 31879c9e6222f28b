"""What the accuracy benchmark compares RQRec with."""

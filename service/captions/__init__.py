"""What the user sees: sessions, segments, the policy that settles words. No I/O, no clock."""

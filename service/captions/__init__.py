"""What the user sees: sessions, segments, the policy that commits words. No I/O, no clock."""
